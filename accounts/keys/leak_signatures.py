"""Signatures of leak reports, as GitHub makes them: ECDSA on P-256 and SHA-256 over the raw body."""

import base64
import binascii
import json
import logging
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings

from accounts.keys.leak_reports import ReportRejected

logger = logging.getLogger(__name__)


class InvalidPublicKeys(Exception):
    """The file of LEAK_REPORT_PUBLIC_KEYS cannot be used. The message says why, and repeats nothing of it."""


def public_keys() -> dict[str, ec.EllipticCurvePublicKey]:
    """The keys that reports may be signed with, by identifier. Read anew each time: they change.

    Raises:
        InvalidPublicKeys: no such file, or not the form of GitHub's own document.
    """
    try:
        document = json.loads(Path(settings.LEAK_REPORT_PUBLIC_KEYS).read_text())
        listed = {row["key_identifier"]: row["key"] for row in document["public_keys"]}
        loaded = {name: load_pem_public_key(pem.encode()) for name, pem in listed.items()}
    except OSError as error:
        raise InvalidPublicKeys(f"The file cannot be read ({error.strerror}).") from error
    except (ValueError, LookupError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise InvalidPublicKeys(
            "It is not JSON like {'public_keys': [{'key_identifier', 'key', 'is_current'}]} "
            "with a key in PEM form in each."
        ) from error
    usable = {
        name: key
        for name, key in loaded.items()
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    }
    if not usable or len(usable) < len(loaded):
        raise InvalidPublicKeys("It must list one key or more, each of the curve P-256.")
    return usable


def verify(body: bytes, *, key_identifier: str, signature: str) -> None:
    """Make sure that the body is what the holder of a listed key signed.

    Raises:
        ReportRejected: 400 without both headers, 401 for a key or signature that is wrong, 413 too large,
            503 while the file of public keys cannot be used.
    """
    if len(body) > settings.BODY_LIMIT_BYTES:
        raise ReportRejected(413, f"A report has at most {settings.BODY_LIMIT_BYTES} bytes.")
    if not key_identifier or not signature:
        raise ReportRejected(
            400,
            "Send Github-Public-Key-Identifier and Github-Public-Key-Signature with the report.",
        )
    try:
        key = public_keys().get(key_identifier)
    except InvalidPublicKeys as error:
        logger.exception(
            "the public keys of leak reports cannot be used", extra={"reason": str(error)}
        )
        raise ReportRejected(
            503, "Reports cannot be verified right now. Send it again later."
        ) from error
    if key is None:
        raise ReportRejected(401, "The key that the report was signed with is not known here.")
    try:
        key.verify(base64.b64decode(signature, validate=True), body, ec.ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        raise ReportRejected(401, "The signature does not belong to this body and key.") from None
