"""What an organization used, by day, size, key and payer: reports from the sums of `usage_hours`."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from accounts.models import ApiKey
from billing.ledger import usage_hours
from billing.ledger.usage_hours import BUCKETS, midnight
from billing.models import Hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from accounts.models import Organization

Part = TypeVar("Part")


@dataclass(frozen=True)
class Period:
    """A span of whole UTC days, `start` included and `end` not."""

    start: date
    end: date

    @property
    def days(self) -> list[date]:
        """The days, first to last."""
        return [self.start + timedelta(days=n) for n in range((self.end - self.start).days)]

    @property
    def starts_at(self) -> datetime:
        """Its first moment."""
        return midnight(self.start)

    @property
    def ends_at(self) -> datetime:
        """The first moment after it."""
        return midnight(self.end)


@dataclass(frozen=True)
class Spend:
    """Images delivered and what they cost; `label` says of which day, size, key or payer."""

    label: str
    images: int
    micros: int


@dataclass(frozen=True, order=True)
class KeyName:
    """What lists show of an API key, in the order of their age."""

    pk: int
    name: str
    hint: str


PLAYGROUND = KeyName(usage_hours.PLAYGROUND, "Playground", "")
DELETED = KeyName(usage_hours.GONE, "Deleted key", "")


@dataclass(frozen=True)
class UsageRow:
    """One line of a report: images delivered from `start` to before `end`, and what they cost.

    `key` is None where the report is not by key; `size` and `payer` (of Hold.Payer) are empty likewise.
    """

    start: datetime
    end: datetime
    key: KeyName | None
    size: str
    payer: str
    images: int
    micros: int


def month(year: int, number: int) -> Period:
    """The calendar month as a period."""
    start = date(year, number, 1)
    return Period(start, start + timedelta(days=monthrange(year, number)[1]))


def month_of(day: date) -> Period:
    """The calendar month that the day lies in."""
    return month(day.year, day.month)


def report(
    organization: Organization,
    *,
    start: datetime,
    end: datetime,
    bucket: str,
    group_by: Sequence[str],
) -> list[UsageRow]:
    """Use by UTC hour or day (`BUCKETS`), split by any of `usage_hours.GROUPS`; what is empty is left out.

    In order of time, then of the parts as `group_by` names them. The first and the last bucket end where the
    span does.
    """
    sums = usage_hours.sums(organization, start=start, end=end, bucket=bucket, group_by=group_by)
    if "key" in group_by:
        sums = _named(organization, sums, place=1 + group_by.index("key"))
    rows = []
    for (moment, *parts), (images, micros) in sorted(sums.items()):
        part = dict(zip(group_by, parts, strict=True))
        rows.append(
            UsageRow(
                start=max(moment, start),
                end=min(moment + BUCKETS[bucket], end),
                key=part.get("key"),
                size=part.get("size", ""),
                payer=part.get("payer", ""),
                images=images,
                micros=micros,
            )
        )
    return rows


def _named(
    organization: Organization, sums: dict[tuple[Any, ...], tuple[int, int]], place: int
) -> dict[tuple[Any, ...], tuple[int, int]]:
    """The same with the names of the organization's keys in that place; those that are gone are one."""
    keys = ApiKey.objects.for_organization(organization).order_by()
    found = keys.filter(pk__in={parts[place] for parts in sums})
    names = {key.pk: KeyName(key.pk, key.name, key.hint) for key in found}
    names[PLAYGROUND.pk] = PLAYGROUND
    return usage_hours.added(
        ((*parts[:place], names.get(parts[place], DELETED), *parts[place + 1 :]), images, micros)
        for parts, (images, micros) in sums.items()
    )


def total(organization: Organization, period: Period) -> Spend:
    """The images of the whole period and what they cost."""
    sums = usage_hours.sums(organization, start=period.starts_at, end=period.ends_at)
    return Spend("all", *sums.get((None,), (0, 0)))


def total_of(rows: Sequence[UsageRow]) -> Spend:
    """All of a report together."""
    return Spend("all", sum(row.images for row in rows), sum(row.micros for row in rows))


def by_day(rows: Iterable[UsageRow], period: Period) -> dict[date, Spend]:
    """Each day of the period, those without an image too."""
    found = _split(rows, lambda row: row.start.date())
    return {day: Spend(str(day), *found.get(day, (0, 0))) for day in period.days}


def by_size(rows: Iterable[UsageRow]) -> list[Spend]:
    """Each size that was used, the dearest first."""
    return _dearest_first(_split(rows, lambda row: row.size), str)


def by_key(rows: Iterable[UsageRow]) -> list[Spend]:
    """Each API key that was used, the dearest first; the playground counts as one, and so do deleted keys."""
    return _dearest_first(_split(rows, lambda row: row.key), lambda key: key.name if key else "")


def by_payer(rows: Iterable[UsageRow]) -> list[Spend]:
    """Credit and subscription, where it paid for an image, the one that paid more first."""
    return _dearest_first(
        _split(rows, lambda row: row.payer), lambda payer: str(Hold.Payer(payer).label)
    )


def _split(
    rows: Iterable[UsageRow], part_of: Callable[[UsageRow], Part]
) -> dict[Part, tuple[int, int]]:
    """The images and micros of each part."""
    return usage_hours.added((part_of(row), row.images, row.micros) for row in rows)


def _dearest_first(
    sums: dict[Part, tuple[int, int]], label_of: Callable[[Part], str]
) -> list[Spend]:
    spends = [Spend(label_of(part), images, micros) for part, (images, micros) in sums.items()]
    return sorted(spends, key=lambda spend: (-spend.micros, spend.label))
