"""The periodic tasks of billing, sent by beat; each is safe to run twice.

Those named `billing.stripe.*` call Stripe, and `billing.mail.send` calls the mail server: they have a worker of
their own.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from celery import shared_task
from django.utils import timezone

from billing import missed_events, refunds, webhook_events
from billing.gateway import client as gateway
from billing.gateway.errors import GatewayError
from billing.invoicing import comparing, own, settling, writing_off
from billing.mails import notices, outgoing, spend_alerts
from billing.models import WebhookEvent
from billing.payments import invoices
from billing.reporting import batching, confirming, sending
from billing.subscriptions import syncing

logger = logging.getLogger(__name__)

LINES_TOLD = 50


@shared_task(name="billing.alert")
def alert() -> None:
    """Write mails to organizations that come near a limit, and note those about ended trials."""
    spend_alerts.alert()
    spend_alerts.note_unpaid()
    notices.note_ended_trials()


@shared_task(name="billing.notify")
def notify() -> None:
    """Write the other mails about money."""
    notices.send_due()


@shared_task(
    name=outgoing.SEND_TASK,
    soft_time_limit=outgoing.SHIFT_LIMIT_SECONDS,
    # Where the signal is not heard, as in a look-up of the server's name.
    time_limit=outgoing.SHIFT_LIMIT_SECONDS + 5,
)
def send_mails() -> None:
    """Send what was written."""
    outgoing.work_shift()


@shared_task(name="billing.look_after_mails")
def look_after_mails() -> None:
    """Remove old rows of mails, and log where mails wait for a worker."""
    outgoing.warn_of_waiting()
    if outgoing.remove_old():
        # The rest of very many is left to the next message.
        look_after_mails.delay()


@shared_task(name="billing.seal")
def seal() -> None:
    """Seal captured images into batches."""
    batching.seal()


@shared_task(name="billing.stripe.send")
def send() -> None:
    """Report batches of use to Stripe."""
    sending.send_due()


@shared_task(name="billing.stripe.prove")
def prove() -> None:
    """Compare what Stripe counted with what it accepted."""
    confirming.confirm()


@shared_task(name="billing.stripe.refund")
def refund() -> None:
    """Send refunds to customers' balances and cards."""
    refunds.send_due()


@shared_task(name="billing.stripe.fees")
def book_fees() -> None:
    """Ask for fees that Stripe had not told when a payment came."""
    _run_if_configured(invoices.book_missing_fees)


@shared_task(name="billing.stripe.inbox")
def read_inbox() -> None:
    """Process the webhook events that wait."""
    webhook_events.work()


@shared_task(name="billing.stripe.event")
def process_event(event_id: str) -> None:
    """Process one webhook event as soon as it is stored."""
    event = WebhookEvent.objects.filter(event_id=event_id, done_at=None).first()
    if event:
        webhook_events.process(event)


@shared_task(name="billing.stripe.events")
def look_for_events() -> None:
    """Find events at Stripe that did not arrive as webhooks."""
    _run_if_configured(missed_events.look)


@shared_task(name="billing.stripe.keep")
def keep() -> None:
    """Bring new prices to subscriptions, and sync those whose period has ended."""
    _run_if_configured(syncing.refresh_subscriptions)


@shared_task(name="billing.stripe.look")
def look_at_subscriptions() -> None:
    """Sync each subscription that was not synced for a day."""
    _run_if_configured(syncing.look_at_subscriptions)


@shared_task(name="billing.stripe.settle")
def settle() -> None:
    """Make drafts say what the ledger says, and then final."""
    settling.work()


@shared_task(name="billing.stripe.invoices")
def look_after_invoices() -> None:
    """Find drafts that no webhook told of, and bill or write off what no subscription's invoice will bill."""
    _run_if_configured(settling.look_for_drafts)
    own.make_due()
    writing_off.write_off_old()


@shared_task(name="billing.stripe.compare")
def compare(organization_id: int) -> None:
    """Compare one organization's books with Stripe's; staff get a mail of the differences."""
    tell_staff(
        comparing.compare(organization=organization_id), of=f"organization {organization_id}"
    )


def tell_staff(differences: Iterable[str], *, of: str, count: int = 0) -> None:
    """Note one mail a day and subject to staff, if there are differences: `count`, where more than are given."""
    found = list(differences)
    if found:
        notices.note(
            "books_differ",
            subject=f"{timezone.now():%Y-%m-%d}, {of}",
            count=max(count, len(found)),
            lines=found[:LINES_TOLD],
        )


def _run_if_configured(task: Callable[[], Any]) -> None:
    """Run the task where Stripe is configured; while Stripe is away, the next run makes up for it."""
    if not gateway.is_configured():
        return
    try:
        task()
    except GatewayError as error:
        logger.warning("stripe away", extra={"detail": str(error)})
