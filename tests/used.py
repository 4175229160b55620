"""The sums of use by the hour, as the ledger's captures have them."""

from collections import defaultdict
from typing import Any

from billing.models import LedgerEntry, UsageHour

Hours = dict[tuple[Any, ...], tuple[int, int]]


def by_ledger() -> Hours:
    """(images, micros) by organization, hour, key, price and payer."""
    sums: Hours = defaultdict(lambda: (0, 0))
    for entry in LedgerEntry.objects.filter(kind="capture").select_related("hold"):
        hour = entry.created_at.replace(minute=0, second=0, microsecond=0)
        hold = entry.hold
        assert hold
        part = (entry.organization_id, hour, hold.api_key_id or 0, hold.price_id, hold.payer)
        images, micros = sums[part]
        sums[part] = (images + 1, micros + entry.amount_micros)
    return dict(sums)


def by_hours() -> Hours:
    """The same as it is kept."""
    rows = UsageHour.objects.all()
    return {
        (row.organization_id, row.hour, row.key, row.price_id, row.payer): (row.images, row.micros)
        for row in rows
    }


def recount() -> None:
    """What is kept follows a ledger that a test has changed."""
    UsageHour.objects.all().delete()
    UsageHour.objects.bulk_create(
        UsageHour(
            organization_id=organization,
            hour=hour,
            key=key,
            price_id=price,
            payer=payer,
            images=images,
            micros=micros,
        )
        for (organization, hour, key, price, payer), (images, micros) in by_ledger().items()
    )
