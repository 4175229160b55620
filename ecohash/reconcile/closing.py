"""Closes months: what cannot change any more is proven once, and its sums are carried on.

A month can be closed when it has been over for some days, nothing of it is in progress, and no check of it
finds a difference. Its row holds, for each organization, the sums of the books from their beginning to the
end of that month. So a running total is proven by the last row and what came later, and the sums of one
month are the difference between two rows. Each row's checksum covers the one before.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, astuple, fields
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Count, Min, Q, Sum

from billing.models import ClosedMonth, Hold, LedgerEntry
from billing.reporting import batching
from ecohash.reconcile.checks import differences_of_months
from ecohash.reconcile.spans import (
    Balance,
    Balances,
    Span,
    month_after,
    month_of,
    rows_of,
    snapshot,
)
from ecohash.reconcile.totals import GRANTED, OWED, sum_where

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

COLUMNS = [each.name for each in fields(Balance)]
# After an upgrade there may be years to close: the rest is left to the next run.
LONGEST_SECONDS = 600
# Closed months whose sums are compared by a daily run, in turn.
COMPARED_A_DAY = 3


def close_due() -> list[date]:
    """Close every month that can be closed, the oldest first; returns them. Not inside a transaction."""
    until = time.monotonic() + LONGEST_SECONDS
    closed: list[date] = []
    while time.monotonic() < until:
        with snapshot():
            last = last_closed()
            month = month_after(last.month) if last else _first_month()
            if month is None or not _is_over(month) or not _is_final(_span(month, last)):
                return closed
            row = _prove(month, last)
        # Another process may have closed it meanwhile, with the same sums.
        ClosedMonth.objects.bulk_create([row], ignore_conflicts=True)
        closed.append(month)
        logger.info(
            "month closed",
            extra={"month": f"{month:%Y-%m}", "holds": row.holds, "entries": row.entries},
        )
    return closed


def last_closed() -> ClosedMonth | None:
    """The row of the last month that is closed."""
    return ClosedMonth.objects.order_by("-month").first()


def open_months() -> Span:
    """The months after the last one that is closed, with what it carries on."""
    last = last_closed()
    if last is None:
        return Span()
    return Span(first=month_after(last.month), carried=balances_of(last))


def balances_of(row: ClosedMonth) -> Balances:
    """The sums of each organization from the beginning to the end of that month.

    Columns that a later release knows, and this row does not, are 0.
    """
    columns = row.sums["columns"]
    return {
        int(organization): Balance(**dict(zip(columns, values, strict=True)))
        for organization, values in row.sums["organizations"].items()
    }


def checksum_of(row: ClosedMonth, before: ClosedMonth | None) -> str:
    """SHA-256 of what the row says, and of the row before."""
    said = [
        *(before.checksum if before else "", f"{row.month:%Y-%m}", row.holds, row.captures),
        *(row.captured_micros, row.entries, row.sums),
    ]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


def rows_are_unchanged() -> Iterator[str]:
    """I12: the rows of closed months are in sequence and say what they said when they were written."""
    before = None
    for row in ClosedMonth.objects.order_by("month").iterator(chunk_size=1):
        in_sequence = before is None or row.month == month_after(before.month)
        if not in_sequence or row.checksum != checksum_of(row, before):
            yield f"I12 {row}: the row of the closed month is not what was written"
        before = row


def month_is_unchanged(row: ClosedMonth) -> Iterator[str]:
    """I12: the sums of a closed month's rows are what they were when it was closed."""
    before = ClosedMonth.objects.filter(month__lt=row.month).order_by("-month").first()
    earlier = balances_of(before) if before else {}
    then = balances_of(row)
    now = sums_of(_span(row.month, before))
    for organization in sorted({*then, *now}):
        was = asdict(then.get(organization, Balance()))
        less = asdict(earlier.get(organization, Balance()))
        found = asdict(now.get(organization, Balance()))
        for column in COLUMNS:
            if found[column] != was[column] - less[column]:
                yield (
                    f"I12 {row}, organization {organization}: {column} is {found[column]}, "
                    f"and was {was[column] - less[column]} when the month was closed"
                )


def months_in_turn() -> Iterator[str]:
    """I12 of a few closed months, which are others each day."""
    count = ClosedMonth.objects.count()
    today = datetime.now(UTC).date().toordinal()
    numbers = {(today * COMPARED_A_DAY + i) % count for i in range(COMPARED_A_DAY if count else 0)}
    for number in sorted(numbers):
        yield from month_is_unchanged(ClosedMonth.objects.order_by("month")[number])


def every_month() -> Iterator[str]:
    """I12 of all closed months."""
    for row in ClosedMonth.objects.order_by("month").iterator(chunk_size=1):
        yield from month_is_unchanged(row)


def sums_of(span: Span) -> Balances:
    """The sums of each organization's rows in these months."""
    captured = {"state": Hold.State.CAPTURED}
    found: Balances = {}
    holds = span.holds().values("organization")
    holds = holds.annotate(
        n=Count("pk"),
        captures=Count("pk", filter=Q(**captured)),
        micros=sum_where("amount_micros", **captured),
        credit=sum_where("amount_micros", payer=Hold.Payer.CREDIT, **captured),
    )
    for pk, *sums in rows_of(holds, "organization", "n", "captures", "micros", "credit"):
        found[pk] = Balance(*sums)
    entries = span.entries().values("organization")
    entries = entries.annotate(n=Count("pk"), s=Sum("amount_micros"), granted=GRANTED, owed=OWED)
    for pk, *sums in rows_of(entries, "organization", "n", "s", "granted", "owed"):
        balance = found.setdefault(pk, Balance())
        balance.entries, balance.entry_micros, balance.granted_micros, balance.owed_micros = sums
    hours = span.hours().values("organization").annotate(n=Sum("images"), s=Sum("micros"))
    for pk, images, micros in rows_of(hours, "organization", "n", "s"):
        balance = found.setdefault(pk, Balance())
        balance.hour_images, balance.hour_micros = images, micros
    return found


def _prove(month: date, last: ClosedMonth | None) -> ClosedMonth:
    """The row of a month without differences."""
    sums = sums_of(_span(month, last))
    balances = balances_of(last) if last else {}
    for organization, added in sums.items():
        before = balances.get(organization, Balance())
        balances[organization] = Balance(
            *(one + other for one, other in zip(astuple(before), astuple(added), strict=True))
        )
    row = ClosedMonth(
        month=month,
        holds=sum(each.holds for each in sums.values()),
        captures=sum(each.captures for each in sums.values()),
        captured_micros=sum(each.captured_micros for each in sums.values()),
        entries=sum(each.entries for each in sums.values()),
        sums={
            "columns": COLUMNS,
            "organizations": {str(pk): list(astuple(one)) for pk, one in balances.items()},
        },
    )
    row.checksum = checksum_of(row, last)
    return row


def _span(month: date, before: ClosedMonth | None) -> Span:
    """That month; the first one that is closed takes with it whatever is older."""
    return Span(first=month if before else None, end=month_after(month))


def _first_month() -> date | None:
    """The month of the oldest row; None where there is none."""
    hold = Hold.objects.aggregate(oldest=Min("month"))["oldest"]
    entry = LedgerEntry.objects.aggregate(oldest=Min("created_at"))["oldest"]
    found = [hold] if hold else []
    if entry:
        found.append(entry.astimezone(UTC).date())
    return month_of(min(found)) if found else None


def _is_over(month: date) -> bool:
    days = timedelta(days=settings.CLOSE_MONTHS_AFTER_DAYS)
    return month_after(month) + days <= datetime.now(UTC).date()


def _is_final(span: Span) -> bool:
    """Whether nothing of these months is in progress and nothing differs; else the log says why."""
    unbatched = batching.open_use().filter(pk__in=span.holds().values("pk"))
    if span.holds().pending().exists():
        why = "holds are pending"
    elif unbatched.exists():
        why = "images are in no usage batch"
    else:
        why = next(differences_of_months(span), "")
    if why:
        logger.warning("month not closed", extra={"before": str(span.end), "why": why})
    return not why
