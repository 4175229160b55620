"""Sends sealed batches to Stripe's meters, and reacts to each kind of answer so that an image is counted once.

What a meter counts gets on the next invoice by itself. Before that is final it is compared with the ledger, and
what a meter has missed or counted twice is corrected there: invoicing/.

| Stripe answers | we |
|---|---|
| 200 | take it as accepted; confirming.py compares with what Stripe has counted |
| 400, the identifier exists | the same if an earlier attempt is on record, else reject it and tell staff |
| another 400, 404 | reject it: keep the row, tell staff |
| 401, 403 | pause all sending, tell staff |
| 409, 429 | wait, longer each time |
| 5xx | the same identifier under a new idempotency key: Stripe replays a stored 500 for a day |
| nothing | the same identifier and the same key |
| the first attempt was 23 hours ago | stop: its invoice will tell whether it was counted |
"""

import hashlib
import logging
import time
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Coalesce
from django.utils import timezone

from billing.gateway import client as gateway
from billing.gateway import usage
from billing.gateway.usage import ReportAnswer, ReportOutcome
from billing.mails import notices
from billing.models import (
    SendingPause,
    Subscription,
    UsageAttempt,
    UsageBatch,
    UsageBatchQuerySet,
)

logger = logging.getLogger(__name__)

# Stripe forgets idempotency keys and identifiers after 24 hours.
REPEATABLE = timedelta(hours=23)
# Stripe takes events of the last 35 days.
OLDEST_EVENT = timedelta(days=34)
UNSENT_ALARM = timedelta(minutes=30)
# More than can be sent in one go.
AT_ONCE = 500


def send_due(seconds: float = 5.0) -> int:
    """Send what is due, one after another, for at most that long; returns how many were accepted.

    Any number may run at once: the database allows one in flight for each organization and price.
    """
    if not gateway.is_configured():
        return 0
    end_pause_of_another_key()
    if is_paused():
        return 0
    reclaim_expired()
    until = time.monotonic() + seconds
    accepted = 0
    # A list: on SQLite a half-read query would keep this connection from becoming the writer.
    for batch in list(due()[:AT_ONCE]):
        if time.monotonic() > until:
            break
        outcome = send(batch)
        accepted += outcome == ReportOutcome.ACCEPTED
        if outcome in {ReportOutcome.KEY_REFUSED, ReportOutcome.LOST}:
            # The next one would fare the same, and each costs as long as a call may take.
            break
    raise_alarm()
    return accepted


def due() -> UsageBatchQuerySet:
    """Sealed batches whose time has come and whose meter is free, the oldest first."""
    busy = UsageBatch.objects.filter(
        organization=OuterRef("organization"),
        price=OuterRef("price"),
        state=UsageBatch.State.SENDING,
    )
    return (
        UsageBatch.objects.due()
        .filter(~Exists(busy))
        .select_related("price__metered", "organization__subscription")
        .order_by("sealed_at")
    )


def reclaim_expired() -> None:
    """What a sender that died had in flight is sent again, as the same event: it may have arrived."""
    UsageBatch.objects.filter(
        state=UsageBatch.State.SENDING, claimed_until__lt=timezone.now()
    ).update(state=UsageBatch.State.SEALED, claimed_until=None)


def send(batch: UsageBatch) -> ReportOutcome | None:
    """One attempt at one batch; None where it was not made."""
    row: Subscription | None = getattr(batch.organization, "subscription", None)
    now = timezone.now()
    if batch.first_tried_at and batch.first_tried_at < now - REPEATABLE:
        _give_up(batch)
        return None
    if not _can_be_metered(batch, row):
        _leave_to_invoice(batch)
        return None
    attempt = _claim(batch, str(row.customer_id if row else ""))
    if attempt is None:
        return None
    answer = usage.send(
        event_name=batch.price.metered.event_name,
        customer_id=batch.customer_id,
        quantity=batch.quantity,
        identifier=batch.identifier,
        # The claim has fixed it.
        timestamp=batch.timestamp or batch.last_captured_at,
        idempotency_key=attempt.idempotency_key,
    )
    apply_outcome(batch, attempt, answer)
    return answer.outcome


def _can_be_metered(batch: UsageBatch, row: Subscription | None) -> bool:
    """Whether a meter may still bring it on an invoice: a subscription of the same customer lives."""
    return (
        row is not None
        and row.is_live
        and batch.customer_id in {"", row.customer_id}
        and batch.last_captured_at > timezone.now() - OLDEST_EVENT
    )


def _claim(batch: UsageBatch, customer_id: str) -> UsageAttempt | None:
    """Write down that we are about to send it, before we do; None where another is faster.

    Later attempts repeat customer and time, so that Stripe knows the event again.
    """
    fixed = {
        "customer_id": customer_id,
        # Stripe knows whole seconds.
        "timestamp": batch.last_captured_at.replace(microsecond=0),
    }
    first_tried_at = Coalesce(F("first_tried_at"), timezone.now())
    try:
        with transaction.atomic():
            if not batch.claim(
                state=UsageBatch.State.SENDING,
                first_tried_at=first_tried_at,
                **({} if batch.tries else fixed),
            ):
                return None
            return UsageAttempt.objects.create(batch=batch, idempotency_key=batch.idempotency_key)
    except IntegrityError:
        # The one in flight for this organization and price began in between.
        return None


def apply_outcome(batch: UsageBatch, attempt: UsageAttempt, answer: ReportAnswer) -> None:
    """Do what the table above says. Nothing, if our lease ran out and another has it now."""
    outcome = answer.outcome
    UsageAttempt.objects.filter(pk=attempt.pk).update(
        ended_at=timezone.now(), outcome=outcome, detail=answer.detail[:500]
    )
    repeated = batch.tries > 1
    if outcome == ReportOutcome.ACCEPTED or (outcome == ReportOutcome.DUPLICATE and repeated):
        batch.release(answer.detail, state=UsageBatch.State.ACCEPTED, done_at=timezone.now())
    elif outcome in {ReportOutcome.DUPLICATE, ReportOutcome.REFUSED}:
        if batch.release(answer.detail, state=UsageBatch.State.REJECTED):
            _tell_staff("usage_rejected", batch, answer.detail)
    elif outcome == ReportOutcome.KEY_REFUSED:
        batch.release(answer.detail, state=UsageBatch.State.SEALED)
        pause(answer.detail)
    else:
        number = batch.key_number + (outcome == ReportOutcome.FAULT)
        batch.retry_later(answer.detail, state=UsageBatch.State.SEALED, key_number=number)


def _leave_to_invoice(batch: UsageBatch) -> None:
    """No meter can bring it on an invoice any more: the next one bills it by an item."""
    sealed = UsageBatch.objects.filter(pk=batch.pk, state=UsageBatch.State.SEALED)
    sealed.update(state=UsageBatch.State.UNMETERED, note="no subscription reads its meter")


def _give_up(batch: UsageBatch) -> None:
    """Repeating it now could count it twice; its invoice is compared with the ledger, whatever was counted."""
    sealed = UsageBatch.objects.filter(pk=batch.pk, state=UsageBatch.State.SEALED)
    if sealed.update(state=UsageBatch.State.UNKNOWN):
        _tell_staff("usage_unknown", batch, batch.note)


def _tell_staff(kind: str, batch: UsageBatch, detail: str) -> None:
    notices.note(
        kind,
        subject=f"{batch.pk}:{batch.tries}",
        batch=str(batch.pk),
        images=batch.quantity,
        price=str(batch.price),
        organization_name=batch.organization.name,
        detail=detail,
    )


# --- a key that Stripe refuses --------------------------------------------------------------------


def key_digest() -> str:
    """Which key it was, without the key."""
    return hashlib.sha256(settings.STRIPE_SECRET_KEY.encode()).hexdigest()[:16]


def pause(detail: str) -> None:
    """Stop all sending: every batch would be refused like this one."""
    _, made = SendingPause.objects.get_or_create(
        pk=1, defaults={"key_digest": key_digest(), "detail": detail[:500]}
    )
    if made:
        notices.note("sending_paused", subject=timezone.now().isoformat(), detail=detail)


def is_paused() -> bool:
    """Whether Stripe has refused the key that is set now, and nobody has resumed sending."""
    return SendingPause.objects.filter(key_digest=key_digest()).exists()


def end_pause_of_another_key() -> None:
    """What Stripe refused about an earlier key says nothing about the one that is set now."""
    SendingPause.objects.exclude(key_digest=key_digest()).delete()


def resume() -> bool:
    """Go on sending; False where it was not paused."""
    return bool(SendingPause.objects.all().delete()[0])


def raise_alarm() -> None:
    """Customers are served on while Stripe is away; staff are told when use has waited too long."""
    oldest = (
        UsageBatch.objects.unsent()
        .filter(sealed_at__lt=timezone.now() - UNSENT_ALARM)
        .order_by("sealed_at")
        .first()
    )
    if oldest:
        notices.note(
            "usage_unsent",
            subject=str(oldest.pk),
            since=oldest.sealed_at.isoformat(),
            batches=UsageBatch.objects.unsent().count(),
            detail=oldest.note,
        )
