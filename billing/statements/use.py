"""What was delivered in a period, by UTC day, key and size.

Sums come from `UsageHour`, however many images there are; only an hour that a period cuts is counted by its charges.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncDate

from accounts.models import ApiKey, Organization
from billing.models import Hold, LedgerEntry, Price, UsageHour
from billing.statements.figures import DayOfUse, Images, Use, pixels

HOUR = timedelta(hours=1)
PLAYGROUND = "Playground"
# More rows are a file and no page.
MOST_ROWS = 150
ALL_KEYS = "All keys"
# The day, the id of the key (0: the playground), the size and the payer.
Cell = tuple[date, int, str, str]


@dataclass(frozen=True)
class Delivered:
    """Sums of a period: `cells` are images by day, key, size and payer, `micros` by payer; `by_price` are images that
    the subscription pays, by the price's id.
    """

    cells: dict[Cell, int]
    micros: dict[str, int]
    by_price: Counter[int]

    def images(self, payer: str) -> int:
        """The images that this payer pays."""
        return sum(images for cell, images in self.cells.items() if cell[3] == payer)

    @cached_property
    def sizes(self) -> list[str]:
        """The sizes that were delivered, the smallest first."""
        return sorted({cell[2] for cell in self.cells}, key=pixels)


def delivered(organization: Organization, start: datetime, end: datetime) -> Delivered:
    """What was charged from `start` to before `end`, whoever paid."""
    first = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    first = first if first == start else first + HOUR
    last = max(first, end.astimezone(UTC).replace(minute=0, second=0, microsecond=0))
    hours = (
        UsageHour.objects.filter(organization=organization, hour__gte=first, hour__lt=last)
        .annotate(day=TruncDate("hour", tzinfo=UTC))
        .values_list("day", "key", "price", "payer")
        .annotate(count=Sum("images"), sum=Sum("micros"))
        .order_by()
    )
    edges = (
        LedgerEntry.objects.for_organization(organization)
        .filter(
            Q(created_at__gte=start, created_at__lt=min(first, end))
            | Q(created_at__gte=last, created_at__lt=end),
            kind=LedgerEntry.Kind.CAPTURE,
        )
        .annotate(day=TruncDate("created_at", tzinfo=UTC))
        .values_list("day", "hold__api_key", "hold__price", "hold__payer")
        .annotate(count=Count("pk"), sum=Sum("amount_micros"))
        .order_by()
    )
    rows = [*hours, *edges]
    sizes = dict(Price.objects.filter(pk__in={row[2] for row in rows}).values_list("pk", "size"))
    cells: dict[Cell, int] = defaultdict(int)
    micros: dict[str, int] = defaultdict(int)
    by_price: Counter[int] = Counter()
    for day, key, price, payer, count, amount in rows:
        if payer == Hold.Payer.SUBSCRIPTION:
            by_price[price] += count
        cells[day, key or 0, sizes[price], payer] += count
        micros[payer] += amount
    return Delivered(dict(cells), dict(micros), by_price)


def use_of(
    found: Delivered,
    start: datetime,
    end: datetime,
    *,
    here: int,
    elsewhere: Mapping[str, int],
    earlier: int,
) -> Use:
    """What was delivered in the period of an invoice, and who pays for it.

    Args:
        found: What was delivered in the period.
        start: When the period began.
        end: Its end, which is not part of it.
        here: Images of the period that the invoice bills.
        elsewhere: Images of the period that other invoices bill, by the invoice's name.
        earlier: Images of earlier periods that the invoice bills, too.
    """
    paid = [Images("on this invoice", here)] if here else []
    paid += [
        Images("on another invoice", images, name) for name, images in elsewhere.items() if images
    ]
    rest = found.images(Hold.Payer.SUBSCRIPTION) - sum(part.images for part in paid)
    if rest:
        paid.append(Images("on a later invoice, or on none yet", rest))
    if on_credit := found.images(Hold.Payer.CREDIT):
        paid.append(Images("paid by credit, $0.00 on this invoice", on_credit))
    return Use(
        start=start,
        end=end,
        days=days_of(found),
        paid=paid,
        earlier=earlier,
        credit_micros=found.micros.get(Hold.Payer.CREDIT, 0),
    )


def days_of(found: Delivered) -> list[DayOfUse]:
    """The same as rows, by day and key; by day alone where that would be too many for a page."""
    names = _names({cell[1] for cell in found.cells})
    rows = _rows(found, names)
    if len(rows) > MOST_ROWS:
        rows = _rows(found, dict.fromkeys(names, ALL_KEYS))
    return rows


def _rows(found: Delivered, names: dict[int, str]) -> list[DayOfUse]:
    counts: dict[tuple[date, str], dict[str, int]] = defaultdict(
        lambda: dict.fromkeys(found.sizes, 0)
    )
    on_credit: dict[tuple[date, str], int] = defaultdict(int)
    for (day, key, size, payer), images in found.cells.items():
        counts[day, names[key]][size] += images
        if payer == Hold.Payer.CREDIT:
            on_credit[day, names[key]] += images
    return [
        DayOfUse(day, name, by_size, on_credit[day, name])
        for (day, name), by_size in sorted(counts.items())
    ]


def _names(keys: set[int]) -> dict[int, str]:
    """How a page names each key; two of one name are told apart by their hints, and a removed one has its id."""
    found = {key.pk: key for key in ApiKey.objects.filter(pk__in=keys)}
    names = {pk: key.name for pk, key in found.items()}
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    titles = {
        pk: f"{name} ({found[pk].hint})" if name in twice else name for pk, name in names.items()
    }
    return {key: titles.get(key, f"Key {key}, removed" if key else PLAYGROUND) for key in keys}
