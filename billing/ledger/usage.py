"""What an organization spent, by day, size and key: sums over the ledger's charges."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Sum
from django.db.models.functions import TruncDate, TruncDay, TruncHour

from accounts.models import ApiKey
from billing.models import LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.db.models import QuerySet

    from accounts.models import Organization


@dataclass(frozen=True)
class Period:
    """A span of whole UTC days, `start` included and `end` not."""

    start: date
    end: date

    @property
    def days(self) -> list[date]:
        """The days, first to last."""
        return [self.start + timedelta(days=n) for n in range((self.end - self.start).days)]


@dataclass(frozen=True)
class Spend:
    """Images delivered and what they cost; `label` says of which day, size or key."""

    label: str
    images: int
    micros: int


@dataclass(frozen=True)
class UsageRow:
    """One line of a report: images delivered from `start` to before `end`, and what they cost.

    `key` is None for the playground, and where the report is not by key; `size` is empty likewise.
    """

    start: datetime
    end: datetime
    key: ApiKey | None
    size: str
    images: int
    micros: int


BUCKETS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
# What a report can be split by → the columns that tell the parts apart.
GROUPS = {
    "key": tuple(f"hold__api_key{name}" for name in ("", "__name", "__prefix", "__last_four")),
    "size": ("hold__price__size",),
}


def month(year: int, number: int) -> Period:
    """The calendar month as a period."""
    start = date(year, number, 1)
    return Period(start, start + timedelta(days=monthrange(year, number)[1]))


def month_of(day: date) -> Period:
    """The calendar month that the day lies in."""
    return month(day.year, day.month)


def midnight(day: date) -> datetime:
    """The moment at which that UTC day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def charges(organization: Organization, period: Period) -> QuerySet[LedgerEntry]:
    """The ledger's charges in that period, in no order."""
    return charges_between(organization, midnight(period.start), midnight(period.end))


def charges_between(
    organization: Organization, start: datetime, end: datetime
) -> QuerySet[LedgerEntry]:
    """The ledger's charges from `start` to before `end`, in no order."""
    return (
        LedgerEntry.objects.for_organization(organization)
        .filter(kind=LedgerEntry.Kind.CAPTURE, created_at__gte=start, created_at__lt=end)
        .order_by()
    )


def report(
    organization: Organization,
    *,
    start: datetime,
    end: datetime,
    bucket: str,
    group_by: Collection[str],
) -> list[UsageRow]:
    """Charges by UTC hour or day (`BUCKETS`), split by any of `GROUPS`; what is empty is left out.

    In order of time, then key and size. The first and the last bucket end where the span does.
    """
    columns = [column for group in group_by for column in GROUPS[group]]
    trunc = TruncHour if bucket == "hour" else TruncDay
    rows = (
        charges_between(organization, start, end)
        .annotate(bucket=trunc("created_at", tzinfo=UTC))
        .values("bucket", *columns)
        .annotate(images=Count("pk"), micros=Sum("amount_micros"))
        .order_by("bucket", *columns)
    )
    return [
        UsageRow(
            start=max(row["bucket"], start),
            end=min(row["bucket"] + BUCKETS[bucket], end),
            key=_key(row),
            size=row.get("hold__price__size", ""),
            images=row["images"],
            micros=row["micros"],
        )
        for row in rows
    ]


def _key(row: dict[str, Any]) -> ApiKey | None:
    """The key of a report's row: enough of it to recognize."""
    pk, name, prefix, last_four = (row.get(column, "") for column in GROUPS["key"])
    return ApiKey(pk=pk, name=name, prefix=prefix, last_four=last_four) if pk else None


def total(organization: Organization, period: Period) -> Spend:
    """The images of the whole period and what they cost."""
    sums = charges(organization, period).aggregate(images=Count("pk"), micros=Sum("amount_micros"))
    return Spend("all", sums["images"], sums["micros"] or 0)


def by_day(organization: Organization, period: Period) -> dict[date, Spend]:
    """Each day of the period, those without an image too."""
    rows = (
        charges(organization, period)
        .annotate(day=TruncDate("created_at", tzinfo=UTC))
        .values("day")
        .annotate(images=Count("pk"), micros=Sum("amount_micros"))
    )
    found = {row["day"]: Spend(str(row["day"]), row["images"], row["micros"]) for row in rows}
    return {day: found.get(day, Spend(str(day), 0, 0)) for day in period.days}


def by_size(organization: Organization, period: Period) -> list[Spend]:
    """Each size that was drawn, the dearest first."""
    rows = (
        charges(organization, period)
        .values("hold__price__size")
        .annotate(images=Count("pk"), micros=Sum("amount_micros"))
        .order_by("-micros", "hold__price__size")
    )
    return [Spend(row["hold__price__size"], row["images"], row["micros"]) for row in rows]


def by_key(organization: Organization, period: Period) -> list[Spend]:
    """Each API key that was used, the dearest first; the playground counts as one."""
    rows = (
        charges(organization, period)
        .values("hold__api_key", "hold__api_key__name")
        .annotate(images=Count("pk"), micros=Sum("amount_micros"))
        .order_by("-micros", "hold__api_key__name")
    )
    return [
        Spend(row["hold__api_key__name"] or "Playground", row["images"], row["micros"])
        for row in rows
    ]
