"""The inbox of Stripe's webhooks: each event is kept once and answered at once, and worked on later.

An event says that something happened to an object. What to do follows from how that object is now, so
neither the order nor the number of deliveries matters.
"""

import logging
from collections.abc import Callable

from billing.gateway import checkout, customers, disputes, invoices
from billing.gateway import subscriptions as at_stripe
from billing.gateway.errors import GatewayError, StripeRefused
from billing.gateway.webhooks import Event
from billing.invoicing import settling
from billing.mails import notices
from billing.models import Subscription, WebhookEvent
from billing.models.payment import GRACE_ALLOWANCE_MICROS
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


def work(limit: int = 50) -> int:
    """Work on what waits, the oldest first; returns how many events were finished. Safe to run twice at once."""
    waiting = WebhookEvent.objects.due().order_by("received_at", "pk")
    return sum(process(event) for event in waiting[:limit])


def process(event: WebhookEvent) -> bool:
    """Work on one; False where somebody else does, or where it has to be tried again."""
    if not event.claim():
        return False
    try:
        outcome = handle(event)
    except Exception as error:
        if not isinstance(error, GatewayError):
            logger.exception("webhook not understood", extra={"event": event.event_id})
        detail = str(error) if isinstance(error, GatewayError) else type(error).__name__
        event.retry_later(detail)
        if event.tries >= ALARM_AFTER_TRIES:
            notices.note("webhook_stuck", subject=event.event_id, type=event.type, detail=detail)
        return False
    event.done(outcome)
    logger.info("webhook processed", extra={"event": event.event_id, "type": event.type})
    return True


def handle(event: WebhookEvent) -> str:
    """What one event leads to; returns what was done, for staff to read.

    Raises:
        GatewayError
    """
    for prefix, handler in HANDLERS:
        if event.type.startswith(prefix):
            try:
                return handler(event)
            except StripeRefused as refusal:
                if refusal.is_missing:
                    return "gone at Stripe"
                raise
    return "not for us"


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
    invoice = invoices.find(event.object_id)
    row = _row_of(invoice.customer_id)
    if row is None:
        return "no customer of ours"
    row = syncing.sync(row)
    if invoice.status == "draft":
        batching.seal(row.organization)
        sending.send_due()
    settling.take_note(invoice)
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
    dispute = disputes.find(event.object_id)
    row = _row_of(disputes.customer_of_charge(dispute.charge_id))
    if row is None:
        return "no customer of ours"
    because = f"dispute {dispute.id}"
    if dispute.status in {"won", "warning_closed"}:
        freezing.unfreeze(row, because=because)
    else:
        freezing.freeze(row, because=because)
    return f"dispute {dispute.status}"


def on_fraud_warning(event: WebhookEvent) -> str:
    """The card's bank reports fraud; staff look and unfreeze."""
    charge_id = disputes.charge_of_warning(event.object_id)
    row = _row_of(disputes.customer_of_charge(charge_id) if charge_id else None)
    if row is None:
        return "no customer of ours"
    freezing.freeze(row, because=f"fraud warning {event.object_id}")
    return "frozen"


def on_refund(event: WebhookEvent) -> str:
    """A refund made at Stripe is not in our ledger; those made here are credits and come by no such event."""
    notices.note("refund_at_stripe", subject=event.object_id)
    return "told staff"


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


HANDLERS: tuple[tuple[str, Callable[[WebhookEvent], str]], ...] = (
    ("checkout.session.", on_checkout),
    ("customer.subscription.", on_subscription),
    ("invoice.", on_invoice),
    ("charge.dispute.", on_dispute),
    ("radar.early_fraud_warning.", on_fraud_warning),
    ("charge.refunded", on_refund),
    ("customer.deleted", on_customer_deleted),
    ("v1.billing.meter.", on_late_errors),
)
