"""Sums of use by the hour: added to with each capture, and read for any span.

Whole hours are read from `UsageHour`. Where a span begins or ends within an hour, that part of the hour is
read from the ledger's captures, so that every sum is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connection
from django.db.models import Case, Count, DateField, Func, Sum, Value, When
from django.db.models.functions import Coalesce

from billing.models import Hold, LedgerEntry, UsageHour

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from django.db.models import QuerySet

    from accounts.models import Organization

Part = TypeVar("Part")
SumRow = tuple[tuple[Any, ...], int, int]
HOUR = timedelta(hours=1)
BUCKETS = {"hour": HOUR, "day": timedelta(days=1)}
PLAYGROUND = 0
# Below the id of any key: a key that is gone, of which the ledger alone does not tell the id.
GONE = -1

# One statement on both databases, so that the first two images of an hour do not refuse one another.
ADD = """
INSERT INTO billing_usagehour (organization_id, "hour", "key", price_id, payer, images, micros)
VALUES (%s, %s, %s, %s, %s, 1, %s)
ON CONFLICT (organization_id, "hour", "key", price_id, payer) DO UPDATE
SET images = billing_usagehour.images + 1, micros = billing_usagehour.micros + excluded.micros
"""

# What use can be split by → where it stands beside an hour's sums, and beside an entry of the ledger.
GROUPS: dict[str, tuple[Any, Any]] = {
    "key": (
        "key",
        Coalesce(
            "hold__api_key",
            # The budget of its family keeps a trace of a key that is gone.
            Case(When(hold__key_budget__isnull=False, then=Value(GONE)), default=Value(PLAYGROUND)),
        ),
    ),
    "size": ("price__size", "hold__price__size"),
    "payer": ("payer", "hold__payer"),
}


class UtcDay(Func):
    """The UTC day of a moment. Django's own function runs in Python, for each row, on SQLite."""

    output_field = DateField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Moments are stored as text, in UTC."""
        template = "SUBSTR(%(expressions)s, 1, 10)"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Whatever the session's time zone is."""
        template = "(%(expressions)s AT TIME ZONE 'UTC')::date"
        return self.as_sql(compiler, connection, template=template, **context)


def add(hold: Hold, *, at: datetime) -> None:
    """Count a captured hold in its hour, `at` being the `created_at` of its ledger entry.

    At the end of the transaction that captures it: an organization's captures wait for one another at its budget
    already, so that this row makes none wait, and nothing is locked after it.
    """
    hour = connection.ops.adapt_datetimefield_value(hour_of(at))
    key = hold.api_key_id or PLAYGROUND
    values = [hold.organization_id, hour, key, hold.price_id, hold.payer, hold.amount_micros]
    with connection.cursor() as cursor:
        cursor.execute(ADD, values)


def hour_of(moment: datetime) -> datetime:
    """The first moment of its UTC hour."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def midnight(day: date) -> datetime:
    """The moment at which that UTC day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def charges_between(
    organization: Organization, start: datetime, end: datetime
) -> QuerySet[LedgerEntry]:
    """The ledger's charges from `start` to before `end`, in no order."""
    return (
        LedgerEntry.objects.for_organization(organization)
        .filter(kind=LedgerEntry.Kind.CAPTURE, created_at__gte=start, created_at__lt=end)
        .order_by()
    )


def sums(
    organization: Organization,
    *,
    start: datetime,
    end: datetime | None = None,
    bucket: str = "",
    group_by: Sequence[str] = (),
    payer: str = "",
) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Images and micros from `start` to before `end`, or to now; of that payer alone, where one is named.

    Each pair is found under the first moment of its bucket (`BUCKETS`; None without), followed by its part of
    each of `group_by` (`GROUPS`). A key is its id, `PLAYGROUND` or `GONE`. What is empty is left out.
    """
    reader = _Reader(organization, bucket, group_by, payer)
    return added(
        row
        for first, last in spans_of(start, end)
        for row in (
            reader.of_ledger(first, last)
            if last and last - first < HOUR
            else reader.of_hours(first, last)
        )
    )


def spans_of(start: datetime, end: datetime | None) -> Iterator[tuple[datetime, datetime | None]]:
    """The same span in up to three: whole hours, and before and after them a part of an hour."""
    first = hour_of(start) if hour_of(start) == start else hour_of(start) + HOUR
    last = hour_of(end) if end else None
    if end and last and last < first:
        yield start, end
        return
    if start < first:
        yield start, first
    if last is None or first < last:
        yield first, last
    if end and last and last < end:
        yield last, end


def added(sums_: Iterable[tuple[Part, int, int]]) -> dict[Part, tuple[int, int]]:
    """The images and the micros of all that have the same part, which comes first."""
    found: dict[Part, tuple[int, int]] = {}
    for part, images, micros in sums_:
        before = found.get(part, (0, 0))
        found[part] = (before[0] + images, before[1] + micros)
    return found


@dataclass(frozen=True)
class _Reader:
    """How use is split; see `sums`. Each method gives ((bucket, *parts), images, micros), in no order."""

    organization: Organization
    bucket: str
    group_by: Sequence[str]
    payer: str

    def of_hours(self, first: datetime, last: datetime | None) -> Iterator[SumRow]:
        """Whole hours, by their own sums."""
        rows = UsageHour.objects.filter(organization=self.organization, hour__gte=first).order_by()
        if last:
            rows = rows.filter(hour__lt=last)
        if self.payer:
            rows = rows.filter(payer=self.payer)
        # Without a bucket, all of it is one row.
        time: Any = {"hour": "hour", "day": UtcDay("hour"), "": "organization"}[self.bucket]
        columns = [GROUPS[group][0] for group in self.group_by]
        summed = rows.values_list(time, *columns).annotate(Sum("images"), Sum("micros"))
        for moment, *parts, images, micros in summed:
            yield (self._bucket_of(moment), *parts), images, micros

    def of_ledger(self, first: datetime, last: datetime) -> Iterator[SumRow]:
        """A part of one hour, by the ledger's entries."""
        rows = charges_between(self.organization, first, last)
        if self.payer:
            rows = rows.filter(hold__payer=self.payer)
        columns = [GROUPS[group][1] for group in self.group_by]
        summed = rows.values_list("organization", *columns).annotate(
            Count("pk"), Sum("amount_micros")
        )
        for _, *parts, images, micros in summed:
            yield (self._bucket_of(hour_of(first)), *parts), images, micros

    def _bucket_of(self, moment: Any) -> datetime | None:
        """The first moment of the bucket that this hour or day lies in."""
        if self.bucket == "day":
            return midnight(moment)
        return moment if self.bucket else None
