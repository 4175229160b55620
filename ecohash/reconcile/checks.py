"""Which checks there are, and over which months each is made."""

from collections.abc import Callable, Iterator

from ecohash.reconcile import deliveries, entries, invoices, totals
from ecohash.reconcile.spans import Span, snapshot

Check = Callable[[Span], Iterator[str]]

# Of rows that never change once their month is over.
OF_MONTHS: tuple[Check, ...] = (
    deliveries.captures_are_pictures,
    deliveries.idempotency_keys_are_once,
    totals.holds_fit_their_cap,
    entries.captures_are_entries,
    entries.refunds_give_back_what_was_charged,
    entries.hours_are_sums,
    invoices.batches_hold_what_they_say,
)
# Of what is in progress now, by indexes, and of running totals.
OF_NOW: tuple[Check, ...] = (
    deliveries.holds_end,
    deliveries.jobs_keep_their_hold,
    totals.credits_are_sums,
    totals.budgets_are_sums,
    totals.debts_are_sums,
    totals.pending_holds_have_a_budget,
    invoices.use_is_in_batches,
    invoices.batches_are_billed,
    invoices.lines_claim_what_they_say,
    invoices.errors_are_carried,
    invoices.write_offs_are_entries,
)


def differences_of_months(span: Span) -> Iterator[str]:
    """What differs in the books of these months, one sentence each."""
    for check in OF_MONTHS:
        yield from check(span)


def differences(span: Span = Span()) -> Iterator[str]:  # noqa: B008 - it never changes
    """All differences in the database, one sentence each; none when the books are right.

    Months before the span are taken to be what they were when they were closed.
    """
    yield from differences_of_months(span)
    for check in OF_NOW:
        yield from check(span)


def differences_in_snapshot() -> list[str]:
    """The same of all months, as of one moment."""
    with snapshot():
        return list(differences())
