"""Use as it is reported to Stripe: sealed batches of captured images, and each attempt to send one.

    sealed → sending → accepted → confirmed        else: rejected, unknown, unmetered

What a meter counts is how use usually gets on an invoice; whether it is there is decided by the ledger, when the
batch is claimed by a line of an invoice (invoicing/).

Use that is in no batch yet is open: captured holds that the subscription pays, without a `usage_batch`.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Organization
from billing.models.money import Price
from billing.outbox import OutboxQuerySet, OutboxRow

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


class UsageBatchQuerySet(OutboxQuerySet["UsageBatch"]):
    """Reads of batches."""

    def free(self) -> Self:
        """Those that wait to be sent: the state says it, and only a batch in flight has a lease."""
        return self.unclaimed().filter(state=UsageBatch.State.SEALED)

    def for_organization(self, organization: Organization) -> Self:
        """The batches of one tenant, the newest first."""
        return self.filter(organization=organization).order_by("-sealed_at")

    def unclaimed(self) -> Self:
        """Those that no invoice bills yet and that are not written off."""
        # An earlier release billed leftovers by an invoice each, of which we have no row.
        billed_before = Q(by_invoice=True, done_at__isnull=False)
        return self.filter(invoice_line=None, write_off=None).exclude(billed_before)

    def unsent(self) -> Self:
        """Those that are still to be sent: neither taken by Stripe, as far as we know, nor billed by now."""
        states = [UsageBatch.State.SEALED, UsageBatch.State.SENDING]
        return self.unclaimed().filter(state__in=states)

    def metered(self) -> Self:
        """Those that are reported by a meter event; an earlier release billed leftovers by an invoice each."""
        return self.filter(by_invoice=False)

    def taken(self) -> Self:
        """Those whose images Stripe counts, as far as we know."""
        return self.filter(state__in=UsageBatch.TAKEN)


class UsageBatch(OutboxRow):
    """Images of one organization at one price, captured in one billing period: one meter event.

    Its content never changes (PostgreSQL refuses it by trigger); its state does, by compare-and-set.
    The id is random: after a restore a sequence would reuse ids that Stripe takes for sent already.
    """

    class State(models.TextChoices):
        SEALED = "sealed"
        SENDING = "sending"
        ACCEPTED = "accepted"
        CONFIRMED = "confirmed"
        REJECTED = "rejected"
        UNKNOWN = "unknown", "unknown, too old to repeat"
        UNMETERED = "unmetered", "unmetered: an invoice bills it by an item"
        VOIDED = "voided", "voided by an earlier release"

    # Longer than a call may take, so that a dead sender's last call is over before the next one begins.
    LEASE = timedelta(seconds=60)
    TAKEN: ClassVar = (State.ACCEPTED, State.CONFIRMED)
    # No meter may have counted them, as far as we know.
    DOUBTFUL: ClassVar = (State.REJECTED, State.UNKNOWN)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="usage_batches")
    price = models.ForeignKey(Price, models.PROTECT, related_name="usage_batches")
    quantity = models.PositiveIntegerField(help_text="Images.")
    first_captured_at = models.DateTimeField()
    last_captured_at = models.DateTimeField()
    sealed_at = models.DateTimeField(default=timezone.now)

    state = models.CharField(max_length=16, choices=State.choices, default=State.SEALED)
    customer_id = models.CharField(
        max_length=255, blank=True, help_text="Who it was sent for; fixed by the first attempt."
    )
    timestamp = models.DateTimeField(
        null=True, blank=True, help_text="The event's time; fixed by the first attempt."
    )
    identifier_number = models.PositiveIntegerField(
        default=1, help_text="One more each time that it was proven missing and is sent anew."
    )
    key_number = models.PositiveIntegerField(
        default=1, help_text="The idempotency key's suffix: one more after each 5xx."
    )
    first_tried_at = models.DateTimeField(null=True, blank=True)
    claimed_until = models.DateTimeField(
        "sending until", null=True, blank=True, db_column="sending_until"
    )
    by_invoice = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="Billed before invoices had rows here, by one that no row claims.",
    )
    invoice_line = models.ForeignKey(
        "billing.InvoiceLine",
        models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        related_name="batches",
        help_text="The line that claims it: its images are billed there, and nowhere else.",
    )
    write_off = models.ForeignKey(
        "billing.LedgerEntry",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="batches",
        help_text="The entry that wrote it off, where no invoice could bill it.",
    )
    done_at = models.DateTimeField("accepted at", null=True, blank=True, db_column="accepted_at")
    confirmed_at = models.DateTimeField(null=True, blank=True)

    objects = UsageBatchQuerySet.as_manager()  # type: ignore[misc]

    class Meta(TypedModelMeta):
        verbose_name = "usage batch"
        verbose_name_plural = "usage reported to Stripe"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(quantity__gt=0), name="usage_batch_is_not_empty"),
            # Stripe wants one call in flight for each customer and meter: so does the database.
            models.UniqueConstraint(
                fields=["organization", "price"],
                condition=Q(state="sending"),
                name="usage_batch_one_in_flight",
            ),
            models.CheckConstraint(
                condition=Q(state="sending", claimed_until__isnull=False)
                | (~Q(state="sending") & Q(claimed_until=None)),
                name="usage_batch_lease_while_sending",
            ),
            models.CheckConstraint(
                condition=Q(tries=0, timestamp=None, first_tried_at=None, customer_id="")
                | (
                    Q(tries__gt=0, timestamp__isnull=False, first_tried_at__isnull=False)
                    & ~Q(customer_id="")
                ),
                name="usage_batch_fixed_by_first_try",
            ),
            models.CheckConstraint(
                condition=Q(invoice_line=None) | Q(write_off=None), name="usage_batch_billed_once"
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["not_before"],
                condition=Q(state__in=["sealed", "sending"]),
                name="usage_batch_unsent",
            ),
            models.Index(
                fields=["done_at"], condition=Q(state="accepted"), name="usage_batch_unproven"
            ),
            models.Index(
                fields=["organization", "price", "timestamp"], name="usage_batch_by_meter"
            ),
            models.Index(
                fields=["organization", "last_captured_at"],
                condition=Q(invoice_line=None, write_off=None),
                name="usage_batch_unclaimed",
            ),
            # Of the many batches of a line, statements look for the few that lie outside of its period.
            models.Index(fields=["invoice_line", "last_captured_at"], name="usage_batch_by_line"),
            models.Index(fields=["invoice_line", "timestamp"], name="usage_batch_metered"),
            models.Index(
                fields=["organization"],
                condition=Q(by_invoice=True) | Q(write_off__isnull=False),
                name="usage_batch_without_line",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.price} ({self.state})"

    @property
    def identifier(self) -> str:
        """The event's identifier, by which Stripe tells a repeat from new use."""
        again = f":{self.identifier_number}" if self.identifier_number > 1 else ""
        return f"eco:{settings.ECOHASH_ENV}:{self.pk}{again}"

    @property
    def idempotency_key(self) -> str:
        """The idempotency key of the next attempt."""
        return f"{self.identifier}:{self.key_number}"


class UsageAttempt(models.Model):
    """One call that was made, or was about to be: written before the request leaves.

    Stripe's report of late errors names requests by their idempotency key, so each is kept.
    """

    batch = models.ForeignKey(UsageBatch, models.PROTECT, related_name="attempts")
    idempotency_key = models.CharField(max_length=128, db_index=True)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=32, blank=True, help_text="Empty: nobody knows.")
    detail = models.CharField(max_length=500, blank=True)

    class Meta(TypedModelMeta):
        ordering: ClassVar = ["started_at", "pk"]

    def __str__(self) -> str:
        return f"{self.idempotency_key}: {self.outcome or 'no answer'}"


class SendingPause(models.Model):
    """Sending is paused since Stripe refused the API key; one row, or none.

    It ends with another key, or when staff resume it (`manage.py resume_sending`, or the admin).
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    since = models.DateTimeField(default=timezone.now)
    key_digest = models.CharField(max_length=16, help_text="The start of the key's SHA-256.")
    detail = models.CharField(max_length=500)

    class Meta(TypedModelMeta):
        verbose_name = "pause"
        verbose_name_plural = "pauses: nothing is reported to Stripe"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="sending_pause_is_one_row")
        ]

    def __str__(self) -> str:
        return f"paused since {self.since:%Y-%m-%d %H:%M}"
