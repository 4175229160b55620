"""Invoices of the sandbox as rows that claim what they bill, and the sums that must hold after each step."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from billing.ledger import budgets
from billing.models import (
    Budget,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    MeteredPrice,
    Subscription,
    UsageBatch,
)
from billing.payments import invoices
from tests.payment import GOOD_CARD
from tests.stripe_sandbox import StripeSandbox, straight


def at(seconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def look(sandbox: StripeSandbox, invoice_id: str) -> Invoice:
    """Read an invoice into its row, as the platform does: it claims all batches that are free and of its prices."""
    found = sandbox.client().v1.invoices.retrieve(invoice_id)
    row = Subscription.objects.get(customer_id=found.customer)
    facts = {
        "organization": row.organization,
        "kind": Invoice.Kind.PERIOD if found.parent else Invoice.Kind.MANUAL,
        "customer_id": found.customer,
        "number": found.number or "",
        "status": found.status,
        "total_cents": found.total,
        "tax_cents": sum(tax.amount for tax in found.total_taxes or []),
        "due_cents": found.amount_due,
        "read_at": timezone.now(),
        "done_at": timezone.now(),
        "finalized_at": at(found.status_transitions.finalized_at),
    }
    before = Invoice.objects.filter(stripe_id=invoice_id).first()
    with transaction.atomic():
        if before is None:
            invoice = Invoice.objects.create(stripe_id=invoice_id, **facts)
            _claim(invoice, found)
        else:
            Invoice.objects.filter(pk=before.pk).update(**facts)
            invoice = Invoice.objects.get(pk=before.pk)
        if invoice.is_final and not (before and before.is_final):
            invoices.book_final(invoice)
    invoices.record(invoice)
    invoice.refresh_from_db()
    return invoice


def _claim(invoice: Invoice, found: Any) -> None:
    """A line for each price on it."""
    for line in found.lines.data:
        if not line.pricing or not line.pricing.price_details or not line.quantity:
            continue
        metered = MeteredPrice.objects.filter(
            stripe_price_id=line.pricing.price_details.price
        ).first()
        if metered is None:
            continue
        free = UsageBatch.objects.filter(
            organization=invoice.organization, price=metered.price, invoice_line=None
        )
        quantity = free.aggregate(sum=Sum("quantity"))["sum"] or 0
        micros = quantity * metered.price.amount_micros
        mine = InvoiceLine.objects.create(
            invoice=invoice,
            price=metered.price,
            quantity=quantity,
            claimed_cents=(micros + 5_000) // 10_000,
            stripe_quantity=line.quantity,
            stripe_cents=line.amount,
        )
        free.update(invoice_line=mine)


def balances() -> dict[str, int]:
    """What each account holds by the ledger, debits less credits, in micros; those that hold nothing are left out."""
    sums: dict[str, int] = {}
    for entry in LedgerEntry.objects.all():
        sums[entry.debit] = sums.get(entry.debit, 0) + entry.amount_micros
        sums[entry.credit] = sums.get(entry.credit, 0) - entry.amount_micros
    return {account: micros for account, micros in sums.items() if micros}


def check_sums() -> None:
    """The sums that are kept beside the ledger are its own."""
    for row in Subscription.objects.all():
        entries = LedgerEntry.objects.filter(organization=row.organization).exclude(kind="fee")
        came = entries.filter(debit="stripe").aggregate(sum=Sum("amount_micros"))["sum"] or 0
        went = entries.filter(credit="stripe").aggregate(sum=Sum("amount_micros"))["sum"] or 0
        assert row.paid_micros == came - went
    for budget in Budget.objects.filter(api_key=None):
        debts = budgets.debts_of(budget.organization_id)
        assert budget.owed_micros == debts["owed_micros"]


def kinds() -> list[tuple[str, str, str, int]]:
    """The ledger but for captures, the oldest first."""
    rows = LedgerEntry.objects.exclude(kind__in=["capture", "grant"]).order_by("pk")
    return [(row.kind, row.debit, row.credit, row.amount_micros) for row in rows]


def pay(sandbox: StripeSandbox, invoice: Invoice, card: str = GOOD_CARD) -> None:
    """What the customer does on the invoice's page at Stripe."""
    page = sandbox.client().v1.invoices.retrieve(str(invoice.stripe_id)).hosted_invoice_url
    straight.open(str(page), urlencode({"card": card}).encode()).close()


def charge_of(invoice: Invoice) -> str:
    """The id of the charge that paid it."""
    payment = LedgerEntry.objects.get(invoice=invoice, kind="payment", debit="stripe")
    return str(payment.reference)
