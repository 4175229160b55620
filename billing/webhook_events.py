"""The inbox of Stripe's webhooks: each event is kept once and answered at once, and worked on later.

An event says that something happened to an object. What to do follows from how that object is now, so
neither the order nor the number of deliveries matters.
"""

import logging
import time
from collections.abc import Callable
from enum import Enum, auto

from django.utils import timezone

from billing.gateway import checkout, customers, invoices, payments
from billing.gateway import subscriptions as at_stripe
from billing.gateway.errors import GatewayError, StripeAway, StripeRefused
from billing.gateway.webhooks import Event
from billing.invoicing import settling
from billing.isolation import AWAY_IN_A_ROW
from billing.mails import notices
from billing.models import Subscription, WebhookEvent
from billing.models.payment import GRACE_ALLOWANCE_MICROS
from billing.payments import disputed, refunded
from billing.reporting import batching, confirming, sending
from billing.subscriptions import freezing, syncing

logger = logging.getLogger(__name__)

ALARM_AFTER_TRIES = 6


def receive(event: Event) -> bool:
    """Keep it; False where it was kept before."""
    _, made = WebhookEvent.objects.get_or_create(
        event_id=event.id,
        defaults={
            "type": event.type,
            "object_id": event.object_id,
            "created_at": event.created,
        },
    )
    return made


def work(limit: int = 50, seconds: float = 30.0) -> int:
    """Work on what waits, the oldest first; returns how many events were finished. Safe to run twice at once.

    One that fails waits longer each time, so it holds up no other.
    """
    waiting = WebhookEvent.objects.due().order_by("received_at", "pk")
    until = time.monotonic() + seconds
    finished = away = 0
    for event in list(waiting[:limit]):
        if time.monotonic() > until or away >= AWAY_IN_A_ROW:
            break
        outcome = _try(event)
        finished += outcome is Try.DONE
        away = away + 1 if outcome is Try.AWAY else 0
    return finished


class Try(Enum):
    """How one attempt at an event has ended."""

    DONE = auto()
    TAKEN = auto()  # somebody else works on it
    FAILED = auto()
    AWAY = auto()  # Stripe did not answer


def process(event: WebhookEvent) -> bool:
    """Work on one; False where somebody else does, or where it has to be tried again."""
    return _try(event) is Try.DONE


def _try(event: WebhookEvent) -> Try:
    if not event.claim():
        return Try.TAKEN
    try:
        outcome = handle(event)
    except Exception as error:
        if not isinstance(error, GatewayError):
            logger.exception("webhook not understood", extra={"event": event.event_id})
        detail = str(error) if isinstance(error, GatewayError) else type(error).__name__
        event.retry_later(detail)
        if event.tries >= ALARM_AFTER_TRIES:
            notices.note("webhook_stuck", subject=event.event_id, type=event.type, detail=detail)
        return Try.AWAY if isinstance(error, StripeAway) else Try.FAILED
    event.done(outcome)
    logger.info("webhook processed", extra={"event": event.event_id, "type": event.type})
    return Try.DONE


def handle(event: WebhookEvent) -> str:
    """What one event leads to; returns what was done, for staff to read.

    Raises:
        GatewayError
    """
    handler = HANDLERS.get(event.type)
    if handler is None:
        return "not for us"
    try:
        return handler(event)
    except StripeRefused as refusal:
        if refusal.is_missing:
            return "gone at Stripe"
        raise


def _row_of(customer_id: str | None) -> Subscription | None:
    if not customer_id:
        return None
    rows = Subscription.objects.select_related("organization")
    return rows.filter(customer_id=customer_id).first()


def _synced(customer_id: str | None) -> str:
    row = _row_of(customer_id)
    return syncing.sync(row).status if row else "no customer of ours"


def on_checkout(event: WebhookEvent) -> str:
    """Completed, paid later, failed later: the subscription says what came of it."""
    return _synced(checkout.find(event.object_id).customer_id)


def on_subscription(event: WebhookEvent) -> str:
    """Made, changed, ended, paused, resumed."""
    return _synced(at_stripe.find(event.object_id).customer_id)


def on_invoice(event: WebhookEvent) -> str:
    """A draft takes in the last use of its period, and is held; a payment failed or came."""
    asked_at = timezone.now()
    invoice = invoices.find(event.object_id)
    row = _row_of(invoice.customer_id)
    if row is None:
        # Of a customer that is deleted at Stripe, it may still be known.
        known = settling.take_note(invoice, asked_at)
        return f"invoice {invoice.status}" if known else "no customer of ours"
    row = syncing.sync(row)
    if invoice.status == "draft":
        batching.seal(row.organization)
        sending.send_due()
    settling.take_note(invoice, asked_at)
    _tell(event, invoice, row)
    return f"invoice {invoice.status}, subscription {row.status}"


def _tell(event: WebhookEvent, invoice: invoices.StripeInvoice, row: Subscription) -> None:
    """The mails of an invoice: once for each, and only while they are still true."""
    facts = {
        "number": invoice.number,
        "cents": invoice.due_cents,
        "page": invoice.page,
        "until": f"{row.grace_ends_at:%-d %B %Y}" if row.grace_ends_at else "",
        "allowance": GRACE_ALLOWANCE_MICROS,
    }
    unpaid = invoice.status == "open" and invoice.due_cents > 0
    if event.type == "invoice.payment_failed" and unpaid:
        notices.note("payment_failed", organization=row.pk, subject=invoice.id, **facts)
    elif event.type == "invoice.payment_action_required" and unpaid:
        notices.note("payment_action", organization=row.pk, subject=invoice.id, **facts)
    elif event.type in {"invoice.finalization_failed", "invoice.marked_uncollectible"}:
        notices.note(
            "invoice_trouble",
            subject=invoice.id,
            organization_name=row.organization.name,
            type=event.type,
        )


def on_dispute(event: WebhookEvent) -> str:
    """A contested payment stops new work until it is won."""
    dispute = payments.find_dispute(event.object_id)
    row = refunded.row_of_charge(dispute.charge_id)
    if row is None:
        return "no customer of ours"
    because = f"dispute {dispute.id}"
    if dispute.status in {"won", "warning_closed"}:
        freezing.unfreeze(row, because=because)
    else:
        freezing.freeze(row, because=because)
    disputed.record(row.organization, dispute)
    return f"dispute {dispute.status}"


def on_fraud_warning(event: WebhookEvent) -> str:
    """The card's bank reports fraud; staff look and unfreeze."""
    charge_id = payments.charge_of_warning(event.object_id)
    row = refunded.row_of_charge(charge_id) if charge_id else None
    if row is None:
        return "no customer of ours"
    freezing.freeze(row, because=f"fraud warning {event.object_id}")
    return "frozen"


def on_refund(event: WebhookEvent) -> str:
    """Money went back to a card, by us or at Stripe by hand, or came back from it."""
    of_refund = event.type.startswith("refund.")
    charge_id = payments.charge_of_refund(event.object_id) if of_refund else event.object_id
    row = refunded.row_of_charge(charge_id) if charge_id else None
    if row is None or charge_id is None:
        return "no customer of ours"
    return f"{refunded.record(row.organization, charge_id)} new"


def on_customer_deleted(event: WebhookEvent) -> str:
    """The subscription ended with it."""
    row = _row_of(event.object_id)
    if row is None:
        return "no customer of ours"
    if customers.exists(event.object_id):
        return "not deleted"
    syncing.forget_customer(row)
    return "forgotten"


def on_late_errors(event: WebhookEvent) -> str:
    """Events were accepted and then thrown away."""
    return confirming.read_error_report(event.event_id)


# By the exact type: what Stripe adds under a prefix may be about something else.
HANDLERS: dict[str, Callable[[WebhookEvent], str]] = {
    "checkout.session.async_payment_failed": on_checkout,
    "checkout.session.async_payment_succeeded": on_checkout,
    "checkout.session.completed": on_checkout,
    "customer.subscription.created": on_subscription,
    "customer.subscription.deleted": on_subscription,
    "customer.subscription.paused": on_subscription,
    "customer.subscription.resumed": on_subscription,
    "customer.subscription.updated": on_subscription,
    "invoice.created": on_invoice,
    "invoice.deleted": on_invoice,
    "invoice.finalization_failed": on_invoice,
    "invoice.finalized": on_invoice,
    "invoice.marked_uncollectible": on_invoice,
    "invoice.paid": on_invoice,
    "invoice.payment_action_required": on_invoice,
    "invoice.payment_failed": on_invoice,
    "invoice.updated": on_invoice,
    "invoice.voided": on_invoice,
    "charge.dispute.closed": on_dispute,
    "charge.dispute.created": on_dispute,
    "charge.dispute.funds_reinstated": on_dispute,
    "charge.dispute.funds_withdrawn": on_dispute,
    "charge.dispute.updated": on_dispute,
    "radar.early_fraud_warning.created": on_fraud_warning,
    "radar.early_fraud_warning.updated": on_fraud_warning,
    "charge.refunded": on_refund,
    "refund.failed": on_refund,
    "customer.deleted": on_customer_deleted,
    "v1.billing.meter.error_report_triggered": on_late_errors,
    "v1.billing.meter.no_meter_found": on_late_errors,
}
