"""One run of the checks: what it looks at, the record that it leaves, and whether it is overdue."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.utils import timezone

from billing.models import BooksCheck, ClosedMonth, Hold
from ecohash.reconcile import closing
from ecohash.reconcile.checks import differences, differences_of_months
from ecohash.reconcile.spans import Span, month_after, snapshot

logger = logging.getLogger(__name__)

# In a quiet hour of the largest markets.
DUE_AT = time(8, 30, tzinfo=UTC)
LONGEST_RUN_SECONDS = 3_600
LONGEST_RUN = timedelta(seconds=LONGEST_RUN_SECONDS)
# One each day, and time for it: then staff are told that none has finished.
OVERDUE = timedelta(hours=26)


@dataclass(frozen=True)
class Outcome:
    """What a run looked at and found."""

    holds: int
    entries: int
    differences: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.holds} holds and {self.entries} ledger entries in {self.seconds:.1f} s: "
            f"{self.differences} differences"
        )


def run(tell: Callable[[str], object], *, full: bool = False, organizations: int = 0) -> Outcome:
    """Check all books of ours, record it as a `BooksCheck` and in the log. Not inside a transaction.

    Args:
        tell: Called with each difference, one sentence.
        full: Prove closed months once more, too, and each total from the beginning.
        organizations: How many are compared with Stripe besides; it is recorded.
    """
    check = BooksCheck.objects.create(organizations=organizations)
    with snapshot():
        span = Span() if full else closing.open_months()
        check.holds, check.entries = span.holds().count(), span.entries().count()
        for line in _differences(span, full=full):
            check.differences += 1
            tell(line)
    check.ended_at = timezone.now()
    check.save()
    return _log(check)


def run_month(tell: Callable[[str], object], month: date) -> Outcome:
    """Prove one month anew, and compare it with its row if it is closed.

    It leaves no `BooksCheck`: the other months were not looked at.
    """
    check = BooksCheck()
    with snapshot():
        span = Span(first=month, end=month_after(month))
        check.holds, check.entries = span.holds().count(), span.entries().count()
        for line in _differences_of(month, span):
            check.differences += 1
            tell(line)
    check.ended_at = timezone.now()
    return _log(check)


def _differences(span: Span, *, full: bool) -> Iterator[str]:
    yield from closing.rows_are_unchanged()
    yield from closing.every_month() if full else closing.months_in_turn()
    yield from differences(span)


def _differences_of(month: date, span: Span) -> Iterator[str]:
    for row in ClosedMonth.objects.filter(month=month):
        yield from closing.month_is_unchanged(row)
    yield from differences_of_months(span)


def _log(check: BooksCheck) -> Outcome:
    ended_at = check.ended_at or timezone.now()
    outcome = Outcome(
        holds=check.holds,
        entries=check.entries,
        differences=check.differences,
        seconds=(ended_at - check.started_at).total_seconds(),
    )
    logger.info("books checked", extra=vars(outcome))
    return outcome


def is_due() -> bool:
    """Whether none has finished since it was last due, and none is under way."""
    now = timezone.now()
    due_at = datetime.combine(now.astimezone(UTC).date(), DUE_AT)
    if due_at > now:
        due_at -= timedelta(days=1)
    checks = BooksCheck.objects.filter(started_at__gte=min(due_at, now - LONGEST_RUN))
    finished = checks.filter(started_at__gte=due_at, ended_at__isnull=False)
    running = checks.filter(started_at__gte=now - LONGEST_RUN, ended_at=None)
    return not (finished.exists() or running.exists())


def overdue_since() -> datetime | None:
    """When the last check ended, or else the first hold was made, if that is too long ago."""
    ended = BooksCheck.objects.filter(ended_at__isnull=False).order_by("-started_at")
    last = ended.values_list("ended_at", flat=True).first()
    if last is None:
        last = Hold.objects.order_by("pk").values_list("created_at", flat=True).first()
    return last if last and last < timezone.now() - OVERDUE else None
