"""Mails on their way to the mail server, whatever they are about: one row for each recipient."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from billing.outbox import OutboxRow

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object

# Rows that are done say for so long what became of a mail; then they are removed.
KEPT = timedelta(days=30)


class OutgoingMail(OutboxRow):
    """One mail to one address. A row that is done is empty: a link to a new password is a password.

    What stays is what became of it, its kind, and a digest by which staff find an address that they know.
    """

    class Outcome(models.TextChoices):
        SENT = "sent"
        GIVEN_UP = "given_up", "given up"
        EXPIRED = "expired", "expired before it could be sent"

    # Longer than a shift may take.
    LEASE = timedelta(minutes=2)

    reference = models.UUIDField(
        default=uuid.uuid4,
        unique=True,
        editable=False,
        help_text="Part of the Message-ID: the same in each attempt.",
    )
    kind = models.CharField(max_length=64)
    recipient = models.EmailField(blank=True)
    recipient_digest = models.CharField(
        max_length=64, editable=False, help_text="HMAC-SHA256 of the mailbox under the pepper."
    )
    subject = models.TextField(blank=True)
    body = models.TextField(blank=True)
    refusals = models.PositiveSmallIntegerField(
        default=0, help_text="Attempts that the mail server refused for good."
    )
    outcome = models.CharField(max_length=16, choices=Outcome.choices, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(help_text="It is not sent any more after that.")

    class Meta(TypedModelMeta):
        verbose_name = "outgoing mail"
        verbose_name_plural = "outgoing mails"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=(Q(done_at=None, outcome="") & ~Q(recipient=""))
                | (
                    Q(done_at__isnull=False, recipient="", subject="", body="")
                    & Q(outcome__in=["sent", "given_up", "expired"])
                ),
                name="outgoing_mail_is_empty_once_done",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["created_at"], condition=Q(done_at=None), name="outgoing_mail_unsent"
            ),
            models.Index(
                fields=["done_at"], condition=Q(done_at__isnull=False), name="outgoing_mail_done"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"

    def done(self, note: str = "", **changes: Any) -> bool:
        """End the row and empty it; `outcome` is `sent` unless another one is given."""
        changes = {"outcome": self.Outcome.SENT, **changes}
        return super().done(note, recipient="", subject="", body="", **changes)
