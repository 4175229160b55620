"""A span of months whose books are proven, and the snapshot of the database in which that happens.

A hold is of the month that it was admitted in, a ledger entry of the month (UTC) that it was written in, and
a batch of the month in which its last image was captured. None of them ever changes its month.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.db.models import Q

from billing.models import Hold, LedgerEntry, UsageBatch, UsageHour
from images.models import Generation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import QuerySet

    from billing.models import HoldQuerySet, LedgerQuerySet, UsageBatchQuerySet

# Rows that are held in memory at once.
AT_ONCE = 2_000


@dataclass
class Balance:
    """Sums over the books of one organization; amounts in micro-dollars.

    `credit_micros` is what credit paid for captured images, `granted_micros` what the ledger granted, and
    `owed_micros` the ledger's account receivable. The last two are of the rows by hour.
    """

    holds: int = 0
    captures: int = 0
    captured_micros: int = 0
    credit_micros: int = 0
    entries: int = 0
    entry_micros: int = 0
    granted_micros: int = 0
    owed_micros: int = 0
    hour_images: int = 0
    hour_micros: int = 0


Balances = dict[int, Balance]


@dataclass(frozen=True)
class Span:
    """The months from `first` to before `end`, each by its first day; None is no limit.

    `carried` are the sums of each organization before `first`.
    """

    first: date | None = None
    end: date | None = None
    carried: Balances = field(default_factory=dict)

    def carried_of(self, organization: int) -> Balance:
        """The sums of one organization before the span."""
        return self.carried.get(organization, Balance())

    def holds(self) -> HoldQuerySet:
        """Holds that were admitted in these months."""
        return Hold.objects.filter(self._between("month", self.first, self.end)).order_by()

    def jobs(self) -> QuerySet[Generation]:
        """The jobs of those holds."""
        return Generation.objects.filter(self._between("hold__month", self.first, self.end))

    def entries(self) -> LedgerQuerySet:
        """Ledger entries that were written in these months."""
        return LedgerEntry.objects.filter(self._moments("created_at")).order_by()

    def hours(self) -> QuerySet[UsageHour]:
        """The sums by hour of these months."""
        return UsageHour.objects.filter(self._moments("hour")).order_by()

    def batches(self) -> UsageBatchQuerySet:
        """Batches whose last image was captured in these months."""
        return UsageBatch.objects.filter(self._moments("last_captured_at"))

    def _moments(self, column: str) -> Q:
        start, end = (midnight(day) if day else None for day in (self.first, self.end))
        return self._between(column, start, end)

    @staticmethod
    def _between(column: str, start: date | None, end: date | None) -> Q:
        found = Q()
        if start:
            found &= Q(**{f"{column}__gte": start})
        if end:
            found &= Q(**{f"{column}__lt": end})
        return found


def midnight(day: date) -> datetime:
    """The moment at which that UTC day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def month_of(day: date) -> date:
    """The first day of its month."""
    return date(day.year, day.month, 1)


def month_after(month: date) -> date:
    """The first day of the next month."""
    return month_of(month + timedelta(days=31))


@contextmanager
def snapshot() -> Iterator[None]:
    """All reads inside are of one moment, so that work in flight does not look like a difference.

    Nothing can be written inside, and nobody who writes is held up. Not inside a transaction.
    """
    if connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # Every row is read to the end: the default prepares for reading a tenth of them.
            cursor.execute("SET LOCAL cursor_tuple_fraction = 1")
            yield
        return
    # A transaction of Django's would keep all other writers out of SQLite.
    with connection.cursor() as cursor:
        cursor.execute("BEGIN DEFERRED")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


def rows_of(query: QuerySet[Any], *columns: str) -> Iterator[Any]:
    """The values of these columns, of a few rows at a time."""
    return query.values_list(*columns).iterator(chunk_size=AT_ONCE)
