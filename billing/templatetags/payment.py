"""How the reader's organisation stands, and invoices in words: `{% load payment %}`, `{% standing as standing %}`."""

from typing import Any

from django import template

from billing.subscriptions.payment_state import PaymentState

register = template.Library()

STATUS_WORDS = {
    "draft": "Being written",
    "open": "To be paid",
    "paid": "Paid",
    "void": "Withdrawn",
    "uncollectible": "Not collected",
}


@register.simple_tag(takes_context=True)
def standing(context: dict[str, Any]) -> PaymentState:
    """That of the member who reads the page."""
    return PaymentState(context["request"].membership)


@register.filter
def invoice_status(status: str) -> str:
    """Stripe's word as a reader's."""
    return STATUS_WORDS.get(status, status)
