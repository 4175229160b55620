"""Invoices at Stripe as of our last look at them, and which batches of use each of their lines bills.

A capture that the subscription pays lies in one batch, and a batch is claimed by one line, or written off:

    invoice → lines → batches → images

While an invoice is a draft, its lines are made to say what they claim; only then does it become final.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Organization
from billing.models.money import Price
from billing.outbox import STRIPE_ID_LENGTH, OutboxQuerySet, OutboxRow

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


class InvoiceQuerySet(OutboxQuerySet["Invoice"]):
    """Reads of invoices."""

    def for_organization(self, organization: Organization) -> Self:
        """The invoices of one tenant, the newest first."""
        return self.filter(organization=organization).order_by("-created_at", "-pk")

    def drafts(self) -> Self:
        """Those that may still be corrected, as far as we know."""
        return self.filter(status=Invoice.Status.DRAFT)

    def final(self) -> Self:
        """Those whose lines never change any more."""
        return self.filter(finalized_at__isnull=False)


class Invoice(OutboxRow):
    """One invoice at Stripe; `done_at` is when its lines agreed with what they claim, or could change no more.

    Amounts at Stripe are whole cents, tax included in the total.
    """

    # Longer than the calls of one settlement may take.
    LEASE = timedelta(minutes=5)

    class Status(models.TextChoices):
        """Stripe's own words; `deleted` is a draft that is gone there."""

        DRAFT = "draft"
        OPEN = "open"
        PAID = "paid"
        UNCOLLECTIBLE = "uncollectible"
        VOID = "void"
        DELETED = "deleted"

    class Kind(models.TextChoices):
        PERIOD = "period", "of a subscription's period"
        INTERIM = "interim", "between, since much was used"
        LEFTOVER = "leftover", "of use that no subscription bills"
        MANUAL = "manual", "made at Stripe by hand: it claims nothing"

    OWN: ClassVar = (Kind.INTERIM, Kind.LEFTOVER)
    # Nothing more is collected for them, as far as Stripe knows now.
    ENDED: ClassVar = (Status.PAID, Status.UNCOLLECTIBLE, Status.VOID, Status.DELETED)

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="invoices")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    reference = models.UUIDField(
        default=uuid.uuid4,
        unique=True,
        editable=False,
        help_text="Our name for it at Stripe, where we make it ourselves.",
    )
    stripe_id = models.CharField(
        max_length=STRIPE_ID_LENGTH,
        null=True,
        blank=True,
        unique=True,
        help_text="Empty: Stripe has not made it yet.",
    )
    customer_id = models.CharField(max_length=STRIPE_ID_LENGTH)
    subscription_id = models.CharField(max_length=STRIPE_ID_LENGTH, blank=True)
    number = models.CharField(max_length=STRIPE_ID_LENGTH, blank=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.DRAFT)
    created_at = models.DateTimeField(default=timezone.now, help_text="At Stripe.")
    period_start = models.DateTimeField(null=True, blank=True)
    period_end = models.DateTimeField(
        null=True, blank=True, help_text="It claims what was captured before."
    )
    finalizes_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When Stripe would have made it final by itself, as it said at first; we do so shortly before.",
    )
    held = models.BooleanField(
        default=False, help_text="Stripe does not make it final by itself (any more): we do."
    )
    finalized_at = models.DateTimeField(null=True, blank=True)

    total_cents = models.BigIntegerField(default=0)
    tax_cents = models.BigIntegerField(default=0)
    other_cents = models.BigIntegerField(
        default=0, help_text="Of lines that are neither images nor corrections of ours."
    )
    due_cents = models.BigIntegerField(
        default=0, help_text="What was to be paid when it became final, credit taken off."
    )
    paid_cents = models.BigIntegerField(default=0)
    read_at = models.DateTimeField(null=True, blank=True, help_text="When we read it at Stripe.")

    objects = InvoiceQuerySet.as_manager()  # type: ignore[misc]

    class Meta(TypedModelMeta):
        verbose_name = "invoice"
        verbose_name_plural = "invoices: what each claims of the ledger"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=~Q(stripe_id=None) | Q(kind__in=["interim", "leftover"]),
                name="invoice_has_its_id",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["draft", "deleted"], finalized_at=None)
                | (~Q(status__in=["draft", "deleted"]) & Q(finalized_at__isnull=False)),
                name="invoice_final_since",
            ),
            # Two of our own for the same use at once would both claim.
            models.UniqueConstraint(
                fields=["organization"],
                condition=Q(kind__in=["interim", "leftover"], status="draft"),
                name="invoice_one_own_draft",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["organization", "-created_at"], name="invoice_by_organization"),
            models.Index(
                fields=["not_before"], condition=Q(done_at=None), name="invoice_unsettled"
            ),
        ]

    def __str__(self) -> str:
        return self.number or self.stripe_id or f"{self.kind} invoice {self.reference}"

    @property
    def is_final(self) -> bool:
        """Whether its lines never change any more."""
        return self.finalized_at is not None


class InvoiceLine(models.Model):
    """Images of one price on an invoice: what the line claims, what Stripe's own line says, and our correction.

    Of a final invoice `stripe_cents + correction_cents = claimed_cents + carried_cents`, else the rest, which is
    `error_cents`, is carried to another line (`carried_by`).
    """

    invoice = models.ForeignKey(Invoice, models.CASCADE, related_name="lines")
    price = models.ForeignKey(Price, models.PROTECT, related_name="invoice_lines")
    quantity = models.PositiveBigIntegerField(default=0, help_text="Images of the claimed batches.")
    claimed_cents = models.BigIntegerField(
        default=0, help_text="What those cost, rounded to the cent, half up."
    )
    carried_cents = models.BigIntegerField(
        default=0, help_text="What earlier invoices billed too little; below zero: too much."
    )
    stripe_quantity = models.BigIntegerField(
        default=0, help_text="Images of Stripe's own lines, from its meter."
    )
    stripe_cents = models.BigIntegerField(default=0)
    correction_cents = models.BigIntegerField(default=0, help_text="Of our items on the invoice.")
    carried_by = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="carries",
        help_text="The later line that makes this one's error good.",
    )

    class Meta(TypedModelMeta):
        verbose_name = "line of an invoice"
        verbose_name_plural = "lines of invoices"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["invoice", "price"], name="invoice_line_once"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.price} on {self.invoice}"

    @property
    def target_cents(self) -> int:
        """What the invoice should bill for the price."""
        return self.claimed_cents + self.carried_cents

    @property
    def billed_cents(self) -> int:
        """What it bills."""
        return self.stripe_cents + self.correction_cents

    @property
    def error_cents(self) -> int:
        """What it bills too much; below zero: too little."""
        return self.billed_cents - self.target_cents
