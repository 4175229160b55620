"""Whether Stripe has counted what it accepted: each meter's own total against our batches.

An accepted event may still be thrown away later, so a batch is confirmed only by a total that matches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Max, Min, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from billing import isolation
from billing.gateway import client as gateway
from billing.gateway import usage, webhooks
from billing.mails import notices
from billing.models import UsageAttempt, UsageBatch, UsageBatchQuerySet

MINUTE = timedelta(minutes=1)
# Stripe adds up with a lag of minutes; hours later something else is wrong.
LAG_ALARM = timedelta(hours=6)
# By then staff were told, and an invoice shows what is missing.
LEFT_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Count:
    """One customer's images on one meter in a window of whole minutes: Stripe's figure and ours."""

    batches: UsageBatchQuerySet
    start: datetime
    end: datetime
    at_stripe: int
    ours: int

    @property
    def agrees(self) -> bool:
        """Whether both figures are the same."""
        return self.at_stripe == self.ours


def confirm(seconds: float = 10.0) -> int:
    """Confirm accepted batches whose meter's total matches, for at most that long; returns how many.

    Each day of a customer and meter is compared by itself, so that an event that is lost leaves the batches of
    one day unconfirmed. That is an early warning and no more: what is billed is decided by the ledger.
    """
    if not gateway.is_configured():
        return 0
    unproven = UsageBatch.objects.metered().filter(
        state=UsageBatch.State.ACCEPTED, done_at__gt=timezone.now() - LEFT_AFTER
    )
    windows = (
        unproven.order_by()
        .annotate(day=TruncDate("timestamp", tzinfo=UTC))
        .values("organization", "price", "customer_id", "day")
        .annotate(since=Min("done_at"), first=Min("timestamp"), last=Max("timestamp"))
    )
    return sum(
        isolation.for_each(
            windows,
            _confirm_window,
            what="The usage that Stripe has counted could not be read",
            organization_of=lambda window: window["organization"],
            seconds=seconds,
        )
    )


def _confirm_window(window: Mapping[str, Any]) -> int:
    mine = UsageBatch.objects.metered().filter(
        organization=window["organization"],
        price=window["price"],
        customer_id=window["customer_id"],
    )
    start, end = _whole_minutes(window["first"], window["last"])
    inside = mine.filter(timestamp__gte=start, timestamp__lt=end)
    # A batch that is being sent may be counted at Stripe already, or not.
    if inside.filter(state=UsageBatch.State.SENDING).exists():
        return 0
    seen = list(inside.filter(state=UsageBatch.State.ACCEPTED).values_list("pk", flat=True))
    if not seen:
        return 0
    found = count(mine, window["first"], window["last"])
    if found.agrees:
        proven = UsageBatch.objects.filter(pk__in=seen, state=UsageBatch.State.ACCEPTED)
        return proven.update(state=UsageBatch.State.CONFIRMED, confirmed_at=timezone.now())
    if window["since"] < timezone.now() - LAG_ALARM:
        batch = UsageBatch.objects.select_related("organization", "price").get(pk=seen[0])
        notices.note(
            "usage_unproven",
            subject=f"{batch.organization_id}, {batch.price_id}, {window['day']}",
            organization_name=batch.organization.name,
            price=str(batch.price),
            day=f"{window['day']:%-d %B %Y}",
            ours=found.ours,
            at_stripe=found.at_stripe,
        )
    return 0


def _whole_minutes(first: datetime, last: datetime) -> tuple[datetime, datetime]:
    """From the minute of `first` to the end of that of `last`: Stripe adds up whole minutes."""
    return (
        first.replace(second=0, microsecond=0),
        last.replace(second=0, microsecond=0) + MINUTE,
    )


def count(mine: UsageBatchQuerySet, first: datetime, last: datetime) -> Count:
    """Both figures of one organization, price and customer, from the minute of `first` to that of `last`.

    Raises:
        GatewayError
    """
    start, end = _whole_minutes(first, last)
    batches = mine.filter(timestamp__gte=start, timestamp__lt=end)
    # A window holds at least the batch that it was made from.
    one = batches.select_related("price__metered")[0]
    at_stripe = usage.total(
        meter_id=one.price.metered.meter_id, customer_id=one.customer_id, start=start, end=end
    )
    counted = batches.taken()
    ours = counted.aggregate(sum=Sum("quantity"))["sum"] or 0
    return Count(batches, start, end, at_stripe, ours)


def read_error_report(event_id: str) -> str:
    """Reject what Stripe has accepted and thrown away; returns what was found, in words.

    The report names requests by their idempotency keys, and only some of them: the totals show the rest.

    Raises:
        GatewayError
    """
    report = webhooks.meter_errors(event_id)
    rejected = sum(_reject(key, code) for key, code in report.samples)
    if rejected < report.count:
        notices.note(
            "usage_errors",
            subject=event_id,
            count=report.count,
            known=rejected,
            summary=report.summary,
        )
    return f"{report.count} late errors, {rejected} batches rejected"


def _reject(idempotency_key: str, code: str) -> int:
    attempt = (
        UsageAttempt.objects.filter(idempotency_key=idempotency_key)
        .select_related("batch__organization", "batch__price")
        .first()
    )
    if attempt is None:
        return 0
    batch = attempt.batch
    taken = UsageBatch.objects.filter(pk=batch.pk, state__in=UsageBatch.TAKEN)
    note = f"accepted, then thrown away: {code}"
    if not taken.update(state=UsageBatch.State.REJECTED, confirmed_at=None, note=note[:500]):
        return 0
    notices.note(
        "usage_rejected",
        subject=f"{batch.pk}:late",
        batch=str(batch.pk),
        images=batch.quantity,
        price=str(batch.price),
        organization_name=batch.organization.name,
        detail=note,
    )
    return 1
