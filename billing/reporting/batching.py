"""Seals captured images into batches, each of which is reported to Stripe once; sending.py reports them.

A batch belongs to one organization and one price, and its images were captured in one billing period.
"""

from collections.abc import Iterator

from django.db import transaction

from accounts.models import Organization
from billing.models import Hold, HoldQuerySet, Subscription, UsageBatch

# The most images of a batch: one UPDATE should not lock a day's worth of rows.
LARGEST = 5_000


def open_use() -> HoldQuerySet:
    """Images that the subscription pays and that are in no batch yet."""
    return Hold.objects.filter(
        state=Hold.State.CAPTURED, payer=Hold.Payer.SUBSCRIPTION, usage_batch=None
    )


def seal(organization: Organization | int | None = None) -> int:
    """Put all open use (of one organization, or of all) in batches; returns how many. Safe to run twice at once."""
    use = open_use()
    if organization is not None:
        use = use.filter(organization=organization)
    groups = use.order_by().values_list("organization", "price").distinct()
    sealed = 0
    for organization_id, price_id in list(groups):
        mine = open_use().filter(organization=organization_id, price=price_id)
        for part in by_period(mine, organization_id):
            while _seal_some(part, organization_id, price_id):
                sealed += 1
    return sealed


def by_period(use: HoldQuerySet, organization_id: int) -> Iterator[HoldQuerySet]:
    """Split use where a billing period ends: at the announced moment, even before Stripe confirms it."""
    row = Subscription.objects.filter(pk=organization_id).first()
    cuts = sorted(filter(None, {row.period_start, row.period_end})) if row else []
    for start, end in zip([None, *cuts], [*cuts, None], strict=True):
        part = use
        if start:
            part = part.filter(ended_at__gte=start)
        if end:
            part = part.filter(ended_at__lt=end)
        yield part


@transaction.atomic
def _seal_some(use: HoldQuerySet, organization_id: int, price_id: int) -> bool:
    """Seal one batch of the oldest; False where nothing is left, or another process is sealing it."""
    free = use.order_by("ended_at", "pk").select_for_update(skip_locked=True, no_key=True)
    rows = list(free.values_list("pk", "ended_at")[:LARGEST])
    if not rows:
        return False
    moments = [ended_at for _, ended_at in rows if ended_at]
    batch = UsageBatch.objects.create(
        organization_id=organization_id,
        price_id=price_id,
        quantity=len(rows),
        first_captured_at=moments[0],
        last_captured_at=moments[-1],
    )
    Hold.objects.filter(pk__in=[pk for pk, _ in rows]).update(usage_batch=batch)
    return True
