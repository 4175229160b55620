"""Months are closed once nothing of them can change, and then their sums stand for them."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from billing.models import BooksCheck, Budget, ClosedMonth, Credit
from billing.reporting import batching
from ecohash.reconcile import closing
from images.jobs import generation
from images.models import Generation
from tests.cast import Person
from tests.ecohash.past_months import month_ago, move_all_books, past_triggers, reconcile
from tests.images import make
from tests.payment import buy

# A snapshot is a transaction of its own.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def months_close_at_once(settings: Any) -> None:
    settings.CLOSE_MONTHS_AFTER_DAYS = 0


def close_last_month() -> ClosedMonth:
    assert closing.close_due() == [month_ago()]
    return ClosedMonth.objects.get()


def test_a_month_without_differences_is_closed_and_its_sums_stand_for_it(
    alice: Person, charlie: Person
) -> None:
    for person in (alice, alice, charlie):
        make.succeeded(person)
    generation.expire(make.queued(alice))
    move_all_books(month_ago())
    row = close_last_month()
    assert (row.holds, row.captures, row.captured_micros) == (4, 3, 3 * make.PRICE)
    assert closing.balances_of(row)[alice.organization.pk].credit_micros == 2 * make.PRICE
    make.succeeded(alice)
    assert reconcile() == (0, ["The books are right."])
    assert reconcile("--full") == (0, ["The books are right."])
    daily, full = BooksCheck.objects.order_by("pk")
    assert (daily.holds, full.holds) == (1, 5)
    assert closing.close_due() == []


def test_what_an_organization_owes_is_carried_on(subscriber: Person) -> None:
    buy(subscriber, images=2)
    batching.seal()
    move_all_books(month_ago())
    row = close_last_month()
    assert closing.balances_of(row)[subscriber.organization.pk].owed_micros == 2 * make.PRICE
    buy(subscriber)
    batching.seal()
    assert reconcile()[0] == 0
    Budget.objects.filter(api_key=None).update(owed_micros=F("owed_micros") - 5)
    status, lines = reconcile()
    assert (status, len(lines)) == (1, 1)
    assert (
        f"owed is {3 * make.PRICE - 5}, its ledger entries add up to {3 * make.PRICE}" in lines[0]
    )


def test_months_are_closed_in_sequence_and_each_covers_the_one_before(alice: Person) -> None:
    make.succeeded(alice)
    move_all_books(month_ago(3))
    assert closing.close_due() == [month_ago(3), month_ago(2), month_ago(1)]
    first, second, third = ClosedMonth.objects.order_by("month")
    assert [row.captures for row in (first, second, third)] == [1, 0, 0]
    assert closing.balances_of(third) == closing.balances_of(first)
    assert len({first.checksum, second.checksum, third.checksum}) == 3
    assert reconcile("--full")[0] == 0


def test_a_month_is_not_closed_before_its_days_are_over(alice: Person, settings: Any) -> None:
    make.succeeded(alice)
    move_all_books(month_ago())
    settings.CLOSE_MONTHS_AFTER_DAYS = 40
    assert closing.close_due() == []


def test_an_empty_installation_closes_nothing() -> None:
    assert closing.close_due() == []


def leave_pending(person: Person) -> None:
    make.running(person)


def leave_unbatched(person: Person) -> None:
    buy(person)


def lose_a_picture(person: Person) -> None:
    job = make.running(person)
    Generation.objects.filter(pk=job.pk).update(
        status="failed", lease_until=None, ended_at=job.created_at
    )
    buy_past = "UPDATE billing_hold SET state = 'captured', ended_at = created_at WHERE id = %s"
    past_triggers(buy_past, job.hold_id, table="billing_hold")
    batching.seal()


UNFINISHED: dict[str, tuple[Callable[[Person], None], str]] = {
    "a hold is pending": (leave_pending, "holds are pending"),
    "use is in no batch": (leave_unbatched, "images are in no usage batch"),
    "something differs": (lose_a_picture, "was charged without a picture"),
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_a_month_in_progress_or_with_a_difference_stays_open(
    subscriber: Person, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    do, why = UNFINISHED[case]
    do(subscriber)
    move_all_books(month_ago())
    with caplog.at_level("WARNING"):
        assert closing.close_due() == []
    assert why in caplog.records[-1].__dict__["why"]
    assert not ClosedMonth.objects.exists()


def change_an_entry(_row: ClosedMonth) -> None:
    past_triggers(
        "UPDATE billing_ledgerentry SET amount_micros = amount_micros + 1 WHERE kind = 'grant'",
        table="billing_ledgerentry",
    )
    Credit.objects.update(granted_micros=F("granted_micros") + 1)


def remove_a_hold(_row: ClosedMonth) -> None:
    past_triggers(
        "UPDATE billing_hold SET amount_micros = 1 WHERE state = 'released'", table="billing_hold"
    )
    past_triggers(
        "UPDATE billing_hold SET state = 'captured' WHERE state = 'released'", table="billing_hold"
    )


def change_the_row(row: ClosedMonth) -> None:
    sums = row.sums
    values = next(iter(sums["organizations"].values()))
    values[0] += 1
    ClosedMonth.objects.update(sums=sums)


CHANGES: dict[str, tuple[Callable[[ClosedMonth], None], str]] = {
    "an entry of the ledger": (change_an_entry, "granted_micros is"),
    "a hold": (remove_a_hold, "captures is 2, and was 1 when the month was closed"),
    "the month's own row": (change_the_row, "the row of the closed month is not what was written"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_in_a_closed_month_is_named(alice: Person, what: str) -> None:
    make.succeeded(alice)
    generation.expire(make.queued(alice))
    move_all_books(month_ago())
    row = close_last_month()
    do, said = CHANGES[what]
    do(row)
    # One month is closed, so its turn is every day.
    for words in ((), ("--full",)):
        status, lines = reconcile(*words)
        assert status == 1
        assert any(line.startswith(f"I12 {row}") and said in line for line in lines)


def test_one_month_is_proven_by_itself(alice: Person) -> None:
    make.succeeded(alice)
    move_all_books(month_ago())
    close_last_month()
    last, this = (f"{month_ago(n):%Y-%m}" for n in (1, 0))
    past_triggers(
        "UPDATE billing_ledgerentry SET amount_micros = 1 WHERE kind = 'capture'",
        table="billing_ledgerentry",
    )
    assert reconcile("--month", this) == (0, ["The books are right."])
    status, lines = reconcile("--month", last)
    assert status == 1
    assert {line.split()[0] for line in lines} == {"I12", "I4"}
    assert not BooksCheck.objects.exists()
    with pytest.raises(CommandError, match="invalid month value"):
        call_command("reconcile", "--month", "November")


def test_what_was_looked_at_is_said_beside_the_differences(alice: Person) -> None:
    make.succeeded(alice)
    Credit.objects.update(posted_micros=F("posted_micros") + 5)
    out, err = StringIO(), StringIO()
    with pytest.raises(SystemExit):
        call_command("reconcile", stdout=out, stderr=err)
    assert len(out.getvalue().splitlines()) == 1
    assert err.getvalue().startswith("Looked at 1 holds and 2 ledger entries in ")
