"""Invoices of the sandbox as rows that claim what they bill, and the sums that must hold after each step."""

from urllib.parse import urlencode

from django.db.models import Sum
from django.utils import timezone

from billing.gateway import invoices as gateway
from billing.invoicing import settling
from billing.ledger import budgets
from billing.models import Budget, Invoice, LedgerEntry, Subscription
from tests.payment import GOOD_CARD
from tests.stripe_sandbox import StripeSandbox, straight


def look(sandbox: StripeSandbox, invoice_id: str) -> Invoice:
    """Read an invoice into its row, as after a webhook."""
    found = settling.take_note(gateway.find(invoice_id), timezone.now())
    assert found
    return found


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
