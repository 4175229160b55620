"""The ledger: every movement of money, as transfers between accounts.

Amounts are whole micro-dollars (`_micros`): $0.020 is 20,000.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import Organization
from billing.models.money import AppendOnly, AppendOnlyQuerySet, Hold
from billing.outbox import STRIPE_ID_LENGTH

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


class LedgerQuerySet(AppendOnlyQuerySet):
    """Reads of the ledger."""

    def for_organization(self, organization: Organization) -> Self:
        """The entries of one tenant, the newest first."""
        return self.filter(organization=organization).order_by("-created_at", "-pk")


class LedgerEntry(AppendOnly):
    """One transfer from a debited to a credited account, so that it balances by construction."""

    class Account(models.TextChoices):
        PROMOTIONS = "promotions", "Promotions (what we gave away)"
        CUSTOMER_CREDIT = "customer_credit", "Customer credit (what we owe in images)"
        RECEIVABLE = "receivable", "Receivable (what customers owe)"
        REVENUE = "revenue", "Revenue (images delivered)"
        STRIPE = "stripe", "Balance at Stripe (what was paid, less fees)"
        FEES = "fees", "Fees of Stripe"
        DISPUTED = "disputed", "Disputed payments (held by the bank)"
        LOSSES = "losses", "Losses (written off, disputes lost)"
        ROUNDING = "rounding", "Rounding to the cent"
        TAXES = "taxes", "Taxes (what we owe the state)"
        OTHER = "other", "Other income (invoiced at Stripe by hand)"

    class Kind(models.TextChoices):
        GRANT = "grant"
        CAPTURE = "capture"
        REFUND = "refund"
        PAYMENT = "payment"
        PAYOUT = "payout", "money sent back to a card"
        FEE = "fee"
        DISPUTE = "dispute"
        DISPUTE_WON = "dispute_won"
        DISPUTE_LOST = "dispute_lost"
        WRITE_OFF = "write_off"
        WRITE_OFF_PAID = "write_off_paid", "paid after it was written off"
        ROUNDING = "rounding"
        TAX = "tax"
        OTHER = "other", "invoiced at Stripe by hand"

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="ledger_entries")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    debit = models.CharField(max_length=32, choices=Account.choices)
    credit = models.CharField(max_length=32, choices=Account.choices)
    amount_micros = models.BigIntegerField()
    hold = models.ForeignKey(
        Hold, models.PROTECT, null=True, blank=True, related_name="ledger_entries"
    )
    invoice = models.ForeignKey(
        "billing.Invoice",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="ledger_entries",
        help_text="To which it belongs: payments, fees, rounding, taxes, write-offs.",
    )
    reference = models.CharField(
        max_length=STRIPE_ID_LENGTH,
        null=True,
        blank=True,
        unique=True,
        help_text="What it records, once: an id of Stripe's, or ours with a colon and a word.",
    )
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = LedgerQuerySet.as_manager()

    class Meta(TypedModelMeta):
        verbose_name = "ledger entry"
        verbose_name_plural = "ledger"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="ledger_is_positive"),
            models.CheckConstraint(condition=~Q(debit=F("credit")), name="ledger_moves_money"),
            models.CheckConstraint(
                condition=Q(kind="grant", hold=None)
                | Q(kind="capture", hold__isnull=False)
                | Q(kind="refund")
                | (~Q(kind__in=["grant", "capture", "refund"]) & Q(hold=None)),
                name="ledger_capture_names_its_hold",
            ),
            # An image is charged once, and refunded at most once.
            models.UniqueConstraint(fields=["hold", "kind"], name="ledger_once_for_each_hold"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["organization", "-created_at"], name="ledger_by_organization"),
            models.Index(fields=["created_at"], name="ledger_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.amount_micros} µ$"
