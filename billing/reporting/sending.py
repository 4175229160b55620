"""Sends sealed batches to Stripe, and reacts to each kind of answer so that an image is billed once.

| Stripe answers | we |
|---|---|
| 200 | take it as accepted; proof.py compares with what Stripe has counted |
| 400, the identifier exists | the same if an earlier attempt is on record, else reject it and tell staff |
| another 400, 404 | reject it: keep the row, tell staff |
| 401, 403 | pause all sending, tell staff |
| 409, 429 | wait, longer each time |
| 5xx | the same identifier under a new idempotency key: Stripe replays a stored 500 for a day |
| nothing | the same identifier and the same key |
| the first attempt was 23 hours ago | stop: only a comparison can tell whether it was counted |
"""

import hashlib
import logging
import time
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Coalesce
from django.utils import timezone

from billing.amounts import cents_of
from billing.gateway import client as gateway
from billing.gateway import invoices, usage
from billing.gateway.errors import GatewayError
from billing.gateway.usage import ReportAnswer, ReportOutcome
from billing.mails import notices
from billing.models import (
    SendingPause,
    Subscription,
    UsageAttempt,
    UsageBatch,
    UsageBatchQuerySet,
)
from billing.subscriptions.catalog import title_of

logger = logging.getLogger(__name__)

# Stripe forgets idempotency keys and identifiers after 24 hours.
REPEATABLE = timedelta(hours=23)
# Stripe takes events of the last 35 days.
OLDEST_EVENT = timedelta(days=34)
# Less than the hour that Stripe leaves.
LAST_DRAFT = timedelta(minutes=50)
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
    if row is None or not row.customer_id:
        _wait(batch, "no customer at Stripe")
        return None
    attempt = _claim(batch, row)
    if attempt is None:
        return None
    answer = _bill(batch) if batch.by_invoice else _report(batch, attempt)
    apply_outcome(batch, attempt, answer)
    return answer.outcome


def _report(batch: UsageBatch, attempt: UsageAttempt) -> ReportAnswer:
    return usage.send(
        event_name=batch.price.metered.event_name,
        customer_id=batch.customer_id,
        quantity=batch.quantity,
        identifier=batch.identifier,
        # The claim has fixed it.
        timestamp=batch.timestamp or batch.last_captured_at,
        idempotency_key=attempt.idempotency_key,
    )


def _bill(batch: UsageBatch) -> ReportAnswer:
    """Images in flight when the subscription ended: no meter of it would be billed any more.

    The gateway gives the idempotency keys of these creations, and not the attempt.
    """
    try:
        invoices.bill_images(
            customer_id=batch.customer_id,
            subscription_id=str(batch.organization.subscription.subscription_id),
            quantity=batch.quantity,
            cents=cents_of(batch.price.amount_micros),
            description=title_of(batch.price.model, batch.price.size),
            reference=str(batch.pk),
        )
    except GatewayError as error:
        return ReportAnswer(usage.outcome_of(error), str(error))
    return ReportAnswer(ReportOutcome.ACCEPTED)


def fixed_by_first_try(batch: UsageBatch, row: Subscription) -> dict[str, Any]:
    """What every later attempt repeats: for whom, of when, and on which way."""
    return {
        "customer_id": row.customer_id,
        "timestamp": event_time(batch, row),
        "by_invoice": not _can_be_metered(batch, row),
    }


def event_time(batch: UsageBatch, row: Subscription) -> datetime:
    """When its images were captured; or now, where no invoice would hold that moment any more."""
    now = timezone.now()
    captured = batch.last_captured_at
    late = row.invoiced_until is not None and captured < row.invoiced_until
    if late or captured < now - OLDEST_EVENT:
        captured = now
    # Stripe knows whole seconds.
    return captured.replace(microsecond=0)


def _can_be_metered(batch: UsageBatch, row: Subscription) -> bool:
    """Whether the subscription will bill it: it lives, or its last invoice still takes in its period's use.

    That invoice is a draft for about an hour.
    """
    if row.is_live:
        return True
    ended = row.period_end
    if ended is None or batch.last_captured_at >= ended:
        return False
    closed = row.invoiced_until is not None and row.invoiced_until > batch.last_captured_at
    return not closed and timezone.now() < ended + LAST_DRAFT


def _claim(batch: UsageBatch, row: Subscription) -> UsageAttempt | None:
    """Write down that we are about to send it, before we do; None where another is faster."""
    fixed = {} if batch.tries else fixed_by_first_try(batch, row)
    first_tried_at = Coalesce(F("first_tried_at"), timezone.now())
    try:
        with transaction.atomic():
            if not batch.claim(
                state=UsageBatch.State.SENDING, first_tried_at=first_tried_at, **fixed
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


def _wait(batch: UsageBatch, note: str) -> None:
    sealed = UsageBatch.objects.filter(pk=batch.pk, state=UsageBatch.State.SEALED)
    sealed.update(not_before=timezone.now() + timedelta(minutes=5), note=note)


def _give_up(batch: UsageBatch) -> None:
    """Repeating it now could count it twice; `reconcile --fix` compares and decides."""
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
