"""Mails in tests: what was written is sent by a worker, and here by whoever looks for it."""

from django.core import mail
from django.core.mail import EmailMessage

from billing.mails import outgoing


def sent() -> list[EmailMessage]:
    """Every mail of this test so far, after those that are due have been sent."""
    outgoing.send_due()
    return mail.outbox
