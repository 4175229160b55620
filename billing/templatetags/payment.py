"""The payment state of the reader's organization, and words for invoices and the ledger: `{% load payment %}`."""

from typing import Any

from django import template

from billing.models import LedgerEntry
from billing.statements.figures import name_of
from billing.statements.words import words_of
from billing.subscriptions.payment_state import PaymentState

register = template.Library()

STATUS_WORDS = {
    "draft": "Being written",
    "open": "To be paid",
    "paid": "Paid",
    "void": "Withdrawn",
    "uncollectible": "Not collected",
    "so far": "So far",
}


@register.simple_tag(takes_context=True)
def payment_state(context: dict[str, Any]) -> PaymentState:
    """The payment state of the organization whose member reads the page: the view's own, where it has read one."""
    found = context.get("payment")
    return found if isinstance(found, PaymentState) else PaymentState(context["request"].membership)


@register.filter
def invoice_status(status: str) -> str:
    """Stripe's status of an invoice in the reader's words: `open` → `To be paid`."""
    return STATUS_WORDS.get(status, status)


register.filter("invoice_name", name_of)


@register.filter
def is_in_favor(entry: LedgerEntry) -> bool:
    """Whether the entry lowers what the organization owes, raises its credit, or sends money to its card."""
    account = LedgerEntry.Account
    if entry.kind == LedgerEntry.Kind.REFUND:
        return True
    return entry.credit in {account.RECEIVABLE, account.CUSTOMER_CREDIT}


@register.filter
def entry_words(entry: LedgerEntry) -> str:
    """What a ledger entry is, in the words of statements."""
    return words_of(entry)
