"""Whether Stripe has counted what it accepted: each meter's own total against our batches.

An accepted event may still be thrown away later, so a batch is confirmed only by a total that matches.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Min, Sum
from django.utils import timezone

from billing.gateway import client as gateway
from billing.gateway import usage, webhooks
from billing.gateway.errors import GatewayError
from billing.mails import notices
from billing.models import UsageAttempt, UsageBatch, UsageBatchQuerySet

MINUTE = timedelta(minutes=1)
# Stripe adds up with a lag of minutes; hours later something else is wrong.
LAG_ALARM = timedelta(hours=6)


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
    """Confirm accepted batches whose meter's total matches, for at most that long; returns how many."""
    if not gateway.is_configured():
        return 0
    until = time.monotonic() + seconds
    confirmed = 0
    unproven = UsageBatch.objects.metered().filter(state=UsageBatch.State.ACCEPTED)
    groups = unproven.order_by().values("organization", "price", "customer_id")
    for group in groups.annotate(since=Min("done_at")).order_by("since"):
        if time.monotonic() > until:
            break
        mine = UsageBatch.objects.metered().filter(
            organization=group["organization"],
            price=group["price"],
            customer_id=group["customer_id"],
        )
        try:
            confirmed += _confirm_group(mine, group["since"])
        except GatewayError:
            break
    return confirmed


def _confirm_group(mine: UsageBatchQuerySet, since: datetime) -> int:
    unproven = mine.filter(state=UsageBatch.State.ACCEPTED)
    window = unproven.aggregate(first=Min("timestamp"), last=Max("timestamp"))
    # A batch that is being sent may be counted at Stripe already, or not.
    if window["first"] is None or mine.filter(state=UsageBatch.State.SENDING).exists():
        return 0
    seen = list(unproven.values_list("pk", flat=True))
    found = count(mine, window["first"], window["last"])
    if found.agrees:
        proven = UsageBatch.objects.filter(pk__in=seen, state=UsageBatch.State.ACCEPTED)
        return proven.update(state=UsageBatch.State.CONFIRMED, confirmed_at=timezone.now())
    if since < timezone.now() - LAG_ALARM:
        batch = unproven.select_related("organization", "price").order_by("done_at")[0]
        notices.note(
            "usage_unproven",
            subject=str(batch.pk),
            organization_name=batch.organization.name,
            price=str(batch.price),
            ours=found.ours,
            at_stripe=found.at_stripe,
        )
    return 0


def count(mine: UsageBatchQuerySet, first: datetime, last: datetime) -> Count:
    """Both figures of one organization, price and customer, from the minute of `first` to that of `last`.

    Raises:
        GatewayError
    """
    start = first.replace(second=0, microsecond=0)
    end = last.replace(second=0, microsecond=0) + MINUTE
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


def groups_of(batches: UsageBatchQuerySet) -> Iterator[UsageBatchQuerySet]:
    """The batches in parts, one for each organization, price and customer at Stripe."""
    keys = batches.order_by().values_list("organization", "price", "customer_id").distinct()
    for organization, price, customer_id in list(keys):
        yield UsageBatch.objects.metered().filter(
            organization=organization, price=price, customer_id=customer_id
        )
