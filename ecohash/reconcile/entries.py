"""I4: the ledger records each capture and each refund as it was, and the sums by hour are its captures."""

from collections.abc import Iterator
from datetime import UTC
from heapq import merge
from itertools import groupby
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, QuerySet, Sum
from django.db.models.functions import TruncHour

from billing.models import Hold, LedgerEntry
from ecohash.reconcile.spans import Span, rows_of

# What tells the sums of an hour apart. Not the key: a key that was removed stands in the sums alone.
GROUP = ("organization", "hour", "price", "payer")
Group = tuple[Any, ...]
Sums = tuple[int, int]


def captures_are_entries(span: Span) -> Iterator[str]:
    """I4: one capture entry for each captured hold, of its amount and organization."""
    entry = LedgerEntry.objects.filter(
        hold=OuterRef("pk"),
        amount_micros=OuterRef("amount_micros"),
        kind=LedgerEntry.Kind.CAPTURE,
    )
    missing = span.holds().filter(~Exists(entry), state=Hold.State.CAPTURED)
    for (pk,) in rows_of(missing, "pk"):
        yield f"I4 hold {pk} was captured, but the ledger has no entry of its amount"
    captures = span.entries().filter(kind=LedgerEntry.Kind.CAPTURE)
    wrong = captures.exclude(hold__state=Hold.State.CAPTURED, organization=F("hold__organization"))
    for pk, state in rows_of(wrong, "pk", "hold__state"):
        if state != Hold.State.CAPTURED:
            yield f"I4 ledger entry {pk} records a capture that did not happen"
        else:
            yield f"I4 ledger entry {pk} charges another organization than its hold names"


def refunds_give_back_what_was_charged(span: Span) -> Iterator[str]:
    """I4: an image is refunded with what it cost, to whoever paid, and has its row to be sent."""
    refunds = span.entries().filter(kind=LedgerEntry.Kind.REFUND)
    wrong = refunds.filter(hold__isnull=False).exclude(
        hold__state=Hold.State.CAPTURED,
        amount_micros=F("hold__amount_micros"),
        organization=F("hold__organization"),
    )
    for (pk,) in rows_of(wrong, "pk"):
        yield f"I4 ledger entry {pk} refunds an image that was not charged so"
    for (pk,) in rows_of(refunds.filter(refund=None), "pk"):
        yield f"I4 ledger entry {pk} is a refund without its row"


def hours_are_sums(span: Span) -> Iterator[str]:
    """I4: images and micro-dollars of each hour are those of the ledger's captures."""
    for group, hours, ledger in wrong_hours(span):
        organization, hour, price, payer = group
        yield (
            f"I4 organization {organization}, {hour:%Y-%m-%d %H:00}, price {price}, {payer}: the sum of the hour is "
            f"{hours[0]} images for {hours[1]}, the ledger has {ledger[0]} for {ledger[1]}"
        )


def wrong_hours(span: Span) -> Iterator[tuple[Group, Sums, Sums]]:
    """(`GROUP`, sums of the hour, sums of the ledger) where the two differ: images and micro-dollars."""
    hours = span.hours().values(*GROUP).annotate(n=Sum("images"), s=Sum("micros"))
    captures = span.entries().filter(kind=LedgerEntry.Kind.CAPTURE)
    captures = captures.annotate(
        hour=TruncHour("created_at", tzinfo=UTC), price=F("hold__price"), payer=F("hold__payer")
    )
    captures = captures.values(*GROUP).annotate(n=Count("pk"), s=Sum("amount_micros"))
    # Both in the same order and a few rows at a time: there is one for each hour, size and organization.
    both = merge(_sums(hours, 0), _sums(captures, 1))
    for group, rows in groupby(both, key=lambda row: row[0]):
        found = {which: sums for _, which, sums in rows}
        of_hour, of_ledger = (found.get(which, (0, 0)) for which in (0, 1))
        if of_hour != of_ledger:
            yield group, of_hour, of_ledger


def _sums(query: QuerySet[Any], which: int) -> Iterator[tuple[Group, int, Sums]]:
    """The sums of each group in their order, marked by the number of their source."""
    for *group, images, micros in rows_of(query.order_by(*GROUP), *GROUP, "n", "s"):
        yield tuple(group), which, (images, micros)
