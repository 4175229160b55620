"""Keys that were found in public places: each live one is suspended, and its owners are told."""

import base64
import hashlib
import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.template.loader import render_to_string

from accounts.keys import keys
from accounts.keys.leak_reports import Finding
from accounts.models import ApiKey, Membership, User

logger = logging.getLogger(__name__)

TOLD = (Membership.Role.OWNER, Membership.Role.ADMIN)


def answer(finding: Finding) -> dict[str, str]:
    """Suspend the key if it is a live one of ours, and tell its owners; returns GitHub's feedback on it.

    The token is named by its hash: an answer may be logged by whoever reads it.
    """
    key = keys.recognize(finding.token)
    if key:
        because = f"Found in public at {finding.place}" if finding.place else "Found in public"
        # Only the first of several reports suspends, so the owners get one mail.
        if keys.suspend(key=key, because=because):
            logger.warning("leaked key suspended", extra={"api_key": key.pk})
            tell_owners(key, place=finding.place)
    hashed = hashlib.sha256(finding.token.encode(errors="surrogatepass")).digest()
    return {
        "token_hash": base64.b64encode(hashed).decode(),
        "token_type": finding.type,
        "label": "true_positive" if key else "false_positive",
    }


def tell_owners(key: ApiKey, *, place: str) -> None:
    """Mail the owners and admins of the key's organization.

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
