"""How an organization pays: ids of Stripe's objects, subscriptions, webhook events, mails and refunds.

We keep ids and one status; whatever else a page shows of Stripe is read there when it is shown.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Organization
from billing.models.ledger import LedgerEntry
from billing.models.money import Price
from billing.outbox import LONGEST_NOTE, STRIPE_ID_LENGTH, Mail, OutboxRow

if TYPE_CHECKING:
    from datetime import date

    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object

# After a failed payment, work goes on for that long and that much more, until the invoice is paid.
GRACE = timedelta(days=7)
GRACE_ALLOWANCE_MICROS = 5_000_000
# The note of a refund that neither an invoice nor a card can bring to the customer begins so.
CANNOT_BE_SENT = "Cannot be sent back"


class StripeObject(models.Model):
    """One object at Stripe that belongs to the whole installation: a product, the portal's settings."""

    name = models.CharField(max_length=100, unique=True)
    stripe_id = models.CharField(max_length=255)

    def __str__(self) -> str:
        return f"{self.name}: {self.stripe_id}"


class CreationKey(models.Model):
    """Which idempotency key the next creation of an object at Stripe has; without a row its first one.

    One more each time that Stripe has answered and the object does not exist: `gateway/creating.py`.
    """

    identity = models.CharField(max_length=STRIPE_ID_LENGTH, unique=True)
    number = models.PositiveIntegerField(default=1)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta(TypedModelMeta):
        verbose_name = "idempotency key of a creation"
        verbose_name_plural = "idempotency keys of creations"

    def __str__(self) -> str:
        return f"{self.identity}:{self.number}"


class MeteredPrice(models.Model):
    """The meter and the metered price at Stripe of one price version; `manage.py stripe_sync` makes them."""

    price = models.OneToOneField(Price, models.PROTECT, primary_key=True, related_name="metered")
    event_name = models.CharField(max_length=100, unique=True)
    meter_id = models.CharField(max_length=STRIPE_ID_LENGTH)
    stripe_price_id = models.CharField(max_length=STRIPE_ID_LENGTH, unique=True)

    class Meta(TypedModelMeta):
        verbose_name = "price at Stripe"
        verbose_name_plural = "prices at Stripe"

    def __str__(self) -> str:
        return self.event_name


class Subscription(models.Model):
    """An organization's subscription as of the last sync with Stripe; `none` before its first card.

    `version` counts the syncs that were written: an answer that was asked for before the last write is
    dropped and asked for again, so that an older state never overwrites a newer one.
    """

    class Status(models.TextChoices):
        """Stripe's own words, and `none`."""

        NONE = "none", "No subscription"
        INCOMPLETE = "incomplete"
        INCOMPLETE_EXPIRED = "incomplete_expired"
        TRIALING = "trialing"
        ACTIVE = "active"
        PAST_DUE = "past_due"
        UNPAID = "unpaid"
        PAUSED = "paused"
        CANCELED = "canceled"

    SERVED: ClassVar = (Status.TRIALING, Status.ACTIVE)
    # Stripe counts use for these and bills it.
    LIVE: ClassVar = (*SERVED, Status.PAST_DUE, Status.UNPAID, Status.PAUSED)

    organization = models.OneToOneField(
        Organization, models.PROTECT, primary_key=True, related_name="subscription"
    )
    reference = models.UUIDField(
        default=uuid.uuid4,
        unique=True,
        editable=False,
        help_text="Our name for the organization at Stripe: random, for ids come again after a restore.",
    )
    customer_id = models.CharField(max_length=STRIPE_ID_LENGTH, null=True, blank=True, unique=True)
    subscription_id = models.CharField(
        max_length=STRIPE_ID_LENGTH, null=True, blank=True, unique=True
    )
    checkout_id = models.CharField(max_length=255, blank=True, help_text="The last one begun.")

    status = models.CharField(max_length=24, choices=Status.choices, default=Status.NONE)
    period_start = models.DateTimeField(null=True, blank=True)
    period_end = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True, help_text="When it was canceled for.")
    invoiced_until = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="For the previous release alone. A later one may drop it.",
    )
    past_due_since = models.DateTimeField(null=True, blank=True)
    past_due_reserved_micros = models.BigIntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="For the previous release alone. A later one may drop it.",
    )
    past_due_owed_micros = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="What was owed and held when a payment failed; more than the allowance above it is refused.",
    )
    paid_micros = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="What has been paid by card in all, less what was sent back or is disputed: it raises the ceiling of "
        "unpaid use.",
    )
    unpaid_limit_micros = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="A ceiling of unpaid use that the operators set for this organization; empty: by the settings.",
    )
    invoices_read_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When all its invoices were compared with Stripe's last; before the first time no ceiling holds.",
    )
    frozen_at = models.DateTimeField(null=True, blank=True)
    frozen_because = models.JSONField(
        default=list, blank=True, help_text="Each reason; work goes on when the last one is gone."
    )

    version = models.PositiveIntegerField(default=0)
    synced_at = models.DateTimeField(null=True, blank=True)

    class Meta(TypedModelMeta):
        verbose_name = "subscription"
        verbose_name_plural = "subscriptions"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status="none") | ~Q(subscription_id=None),
                name="subscription_status_has_its_id",
            ),
            models.CheckConstraint(
                condition=Q(subscription_id=None) | ~Q(customer_id=None),
                name="subscription_has_its_customer",
            ),
            models.CheckConstraint(
                condition=Q(status="past_due", past_due_since__isnull=False)
                | (~Q(status="past_due") & Q(past_due_since=None)),
                name="subscription_past_due_since",
            ),
        ]

    def __str__(self) -> str:
        return f"subscription of {self.organization} ({self.status})"

    @property
    def is_live(self) -> bool:
        """Whether Stripe counts use for it and writes invoices."""
        return self.status in self.LIVE

    @property
    def grace_ends_at(self) -> datetime | None:
        """The moment from which a failed payment stops new work; None while no payment has failed."""
        return self.past_due_since + GRACE if self.past_due_since else None

    def grace_cap_micros(self, month: date) -> int:
        """The most that may be spent and held in that calendar month while a payment is past due."""
        since = self.past_due_since or timezone.now()
        same_month = (since.year, since.month) == (month.year, month.month)
        return GRACE_ALLOWANCE_MICROS + (self.past_due_reserved_micros if same_month else 0)

    @property
    def serves(self) -> bool:
        """Whether it may pay for new images at this moment, the caps aside."""
        grace = self.grace_ends_at
        return self.status in self.SERVED or (grace is not None and timezone.now() < grace)


class SubscriptionItem(models.Model):
    """A price version that Stripe has confirmed as part of the subscription: images are held at no other."""

    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="items")
    price = models.ForeignKey(Price, models.PROTECT, related_name="subscription_items")
    item_id = models.CharField(max_length=STRIPE_ID_LENGTH, unique=True)

    class Meta(TypedModelMeta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["subscription", "price"], name="subscription_item_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.price} of {self.subscription.organization}"


class WebhookEvent(OutboxRow):
    """An event from Stripe, stored once however often it is sent. What it means is read at Stripe."""

    # Longer than a handler's calls may take.
    LEASE = timedelta(seconds=90)

    event_id = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(help_text="At Stripe.")
    received_at = models.DateTimeField(default=timezone.now)
    claimed_until = models.DateTimeField(
        "taken until", null=True, blank=True, db_column="taken_until"
    )
    done_at = models.DateTimeField("processed at", null=True, blank=True, db_column="processed_at")
    note = models.CharField("outcome", max_length=LONGEST_NOTE, blank=True, db_column="outcome")

    class Meta(TypedModelMeta):
        verbose_name = "event"
        verbose_name_plural = "events from Stripe (webhooks)"
        indexes: ClassVar = [
            models.Index(
                fields=["not_before"], condition=Q(done_at=None), name="webhook_unprocessed"
            ),
            models.Index(fields=["-received_at"], name="webhook_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class Notice(Mail):
    """One mail about money or a key: to members of an organization, or to staff (no organization).

    Unique by kind and subject, so that one occurrence is one mail, however often it is noted.
    """

    organization = models.ForeignKey(
        Organization, models.PROTECT, null=True, blank=True, related_name="notices"
    )
    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=255, blank=True, help_text="Which one: an id, a date.")
    facts = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta(TypedModelMeta):
        verbose_name = "mail"
        verbose_name_plural = "mails about money"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "kind", "subject"], name="notice_once"),
            # NULL differs from every other NULL, so mails to staff need a constraint of their own.
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(organization=None),
                name="notice_to_staff_once",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["created_at"], condition=Q(done_at=None), name="notice_unsent"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


class Refund(OutboxRow):
    """Money given back: its ledger entry and, where the subscription had paid, what Stripe is told of it.

    `cents` is what the customer is still to be given at Stripe, or was: Stripe knows no fractions of a cent, so it
    is rounded up over all refunds of the organization together. `to` may change until it is sent.
    """

    LEASE = timedelta(minutes=2)

    class To(models.TextChoices):
        CREDIT = "credit", "credit: for more images"
        BALANCE = "balance", "the customer's balance at Stripe: off the next invoice"
        CARD = "card", "the card that paid"

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="refunds")
    entry = models.OneToOneField(LedgerEntry, models.PROTECT, related_name="refund")
    reference = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    to = models.CharField(
        max_length=16, choices=To.choices, default=To.BALANCE, db_default=To.BALANCE
    )
    cents = models.PositiveBigIntegerField(default=0)
    by = models.CharField(max_length=254, help_text="Who gave it: an e-mail address.")
    created_at = models.DateTimeField(default=timezone.now)
    key_number = models.PositiveIntegerField(
        default=1,
        db_default=1,
        editable=False,
        help_text="For the previous release alone; see CreationKey. A later one may drop it.",
    )
    stripe_id = models.CharField(max_length=STRIPE_ID_LENGTH, blank=True)
    done_at = models.DateTimeField("sent at", null=True, blank=True, db_column="sent_at")

    class Meta(TypedModelMeta):
        verbose_name = "refund"
        verbose_name_plural = "refunds"
        indexes: ClassVar = [
            models.Index(fields=["not_before"], condition=Q(done_at=None), name="refund_unsent"),
        ]

    def __str__(self) -> str:
        return f"refund {self.reference}"

    @property
    def needs_staff(self) -> bool:
        """Whether it waits because neither an invoice nor a card can bring it to the customer."""
        return self.done_at is None and self.note.startswith(CANNOT_BE_SENT)
