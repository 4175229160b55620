"""Keys that were found in public places, reported as GitHub's secret scanning reports them.

The form is of GitHub's partner programme: a JSON array of finds, signed with ECDSA on P-256 and
SHA-256 over the raw body; the answer says of each find whether it was a key of ours.
https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partner-program
"""

import base64
import binascii
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from smtplib import SMTPException
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.template.loader import render_to_string

from accounts.keys import keys
from accounts.models import ApiKey, Membership, User

logger = logging.getLogger(__name__)

TOLD = (Membership.Role.OWNER, Membership.Role.ADMIN)
MOST_FINDS = 5_000  # of one report; each that has a key's form is looked up
LONGEST_TYPE = 100  # characters; each answer repeats it
LONGEST_PLACE = 160  # characters; with the words before it, it fits into the key's row


class UnusablePublicKeys(Exception):
    """The file of LEAK_REPORT_PUBLIC_KEYS cannot be used. The message says why, and repeats nothing of it."""


class Unaccepted(Exception):
    """A report that is answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Report:
    """One find. `place` is where it was, fit to be shown: it holds no key."""

    token: str
    type: str
    place: str


def public_keys() -> dict[str, ec.EllipticCurvePublicKey]:
    """The keys that reports may be signed with, by identifier. Read anew each time: they change.

    Raises:
        UnusablePublicKeys: no such file, or not the form of GitHub's own document.
    """
    try:
        document = json.loads(Path(settings.LEAK_REPORT_PUBLIC_KEYS).read_text())
        listed = {row["key_identifier"]: row["key"] for row in document["public_keys"]}
        loaded = {name: load_pem_public_key(pem.encode()) for name, pem in listed.items()}
    except OSError as error:
        raise UnusablePublicKeys(f"The file cannot be read ({error.strerror}).") from error
    except (ValueError, LookupError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise UnusablePublicKeys(
            "It is not JSON like {'public_keys': [{'key_identifier', 'key', 'is_current'}]} "
            "with a key in PEM form in each."
        ) from error
    usable = {
        name: key
        for name, key in loaded.items()
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    }
    if not usable or len(usable) < len(loaded):
        raise UnusablePublicKeys("It must list one key or more, each of the curve P-256.")
    return usable


def verify(body: bytes, *, key_identifier: str, signature: str) -> None:
    """Make sure that the body is what the holder of a listed key signed.

    Raises:
        Unaccepted: 400 without both headers, 401 for a key or signature that is wrong, 413 too large,
            503 while the file of public keys cannot be used.
    """
    if len(body) > settings.BODY_LIMIT_BYTES:
        raise Unaccepted(413, f"A report has at most {settings.BODY_LIMIT_BYTES} bytes.")
    if not key_identifier or not signature:
        raise Unaccepted(
            400,
            "Send Github-Public-Key-Identifier and Github-Public-Key-Signature with the report.",
        )
    try:
        key = public_keys().get(key_identifier)
    except UnusablePublicKeys as error:
        logger.exception(
            "the public keys of leak reports cannot be used", extra={"reason": str(error)}
        )
        raise Unaccepted(
            503, "Reports cannot be verified right now. Send it again later."
        ) from error
    if key is None:
        raise Unaccepted(401, "The key that the report was signed with is not known here.")
    try:
        key.verify(base64.b64decode(signature, validate=True), body, ec.ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        raise Unaccepted(401, "The signature does not belong to this body and key.") from None


def read(body: bytes) -> list[Report]:
    """The finds of a report.

    Raises:
        Unaccepted: 400 where it is not an array of objects with a token and a type, 413 where it has
            more than `MOST_FINDS`.
    """
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError):
        raise Unaccepted(400, "The report is not JSON.") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unaccepted(400, "The report must be an array of objects.")
    if len(rows) > MOST_FINDS:
        raise Unaccepted(
            413, f"A report has at most {MOST_FINDS} objects. Send the rest in another."
        )
    return [_report(row) for row in rows]


def _report(row: dict[str, Any]) -> Report:
    token, kind = row.get("token"), row.get("type")
    url = row.get("url") or ""
    if not isinstance(token, str) or not isinstance(kind, str) or not isinstance(url, str):
        raise Unaccepted(400, "Each object needs a token and a type, and may have a url: all text.")
    if len(kind) > LONGEST_TYPE:
        raise Unaccepted(400, f"A type has at most {LONGEST_TYPE} characters.")
    return Report(token=token, type=kind, place=place_of(url))


def place_of(url: str) -> str:
    """Host and path of an address, without what else could hold a secret; empty if it is none.

    A path in which something looks like a key, or that cannot be shown, is left out too.
    """
    try:
        parts = urlsplit(url)
        host, path = parts.hostname or "", unquote(parts.path)
    except ValueError:
        return ""
    if keys.PREFIX in host or not host.isprintable():
        return ""
    fit = path.isprintable() and not keys.FORM.search(path) and "%" not in path
    return (host + (path if fit else ""))[:LONGEST_PLACE]


def answer(report: Report) -> dict[str, str]:
    """Suspend the key if it is a live one of ours, and tell its owners; returns GitHub's feedback on it.

    The token is named by its hash: an answer may be logged by whoever reads it.
    """
    key = keys.recognize(report.token)
    if key:
        because = f"Found in public at {report.place}" if report.place else "Found in public"
        # Only the first of several reports suspends, so the owners get one mail.
        if keys.suspend(key=key, because=because):
            logger.warning("leaked key suspended", extra={"api_key": key.pk})
            tell_owners(key, place=report.place)
    hashed = hashlib.sha256(report.token.encode(errors="surrogatepass")).digest()
    return {
        "token_hash": base64.b64encode(hashed).decode(),
        "token_type": report.type,
        "label": "true_positive" if key else "false_positive",
    }


def tell_owners(key: ApiKey, *, place: str) -> None:
    """Mail the owners and admins of the key's organisation.

    A mail server that is away is logged only: the key is suspended, and its page says so.
    """
    context = {"key": key, "place": place, "base_url": settings.BASE_URL}
    subject = " ".join(render_to_string("emails/key_leaked_subject.txt", context).split())
    text = render_to_string("emails/key_leaked.txt", context)
    people = User.objects.filter(
        memberships__organization=key.organization, memberships__role__in=TOLD, is_active=True
    )
    connection = get_connection()
    mails = [
        EmailMessage(subject, text, to=[person.email], connection=connection) for person in people
    ]
    try:
        connection.send_messages(mails)
    except (OSError, SMTPException):
        logger.exception("mail about a leaked key not sent", extra={"api_key": key.pk})
