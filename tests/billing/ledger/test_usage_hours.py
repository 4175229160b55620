"""Use by the hour is what the ledger's captures add up to, and a report of any span is exact."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.keys import keys, rotation
from accounts.models import ApiKey
from billing.ledger import holds, period_to_date, pricing, usage, usage_hours
from billing.models import Credit, Hold, LedgerEntry, UsageHour
from tests import used
from tests.at_once import at_once
from tests.cast import Person, make_owner
from tests.pages.paying import subscribed, without_credit

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SIZES = ["512x512", "1024x768", "1024x1024"]
# Around the full hour and around midnight, to the microsecond.
MOMENTS = [
    NOON + timedelta(hours=hours, microseconds=tick)
    for hours in (0, 1, 11.5, 12, 36)
    for tick in (-1, 0, 1)
]
captures = st.tuples(
    st.integers(0, 4), st.sampled_from(SIZES), st.sampled_from(MOMENTS), st.booleans()
)
groups = st.lists(st.sampled_from(list(usage_hours.GROUPS)), unique=True)


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Holds end at that moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holds, "timezone", SimpleNamespace(now=lambda: moment))
        yield


def held(person: Person, key: ApiKey | None, size: str = SIZES[0]) -> Hold:
    price = pricing.price_of(model=pricing.DEFAULT_MODEL, size=size)
    with transaction.atomic():
        return holds.place(organization=person.organization, api_key=key, price=price)


def end(hold: Hold) -> bool:
    with transaction.atomic():
        return holds.capture(hold)


def deliver(person: Person, key: ApiKey | None, size: str, moment: datetime) -> None:
    with at(moment):
        assert end(held(person, key, size))


def counted(
    person: Person, start: datetime, end: datetime, bucket: str, group_by: list[str]
) -> dict[tuple[Any, ...], tuple[int, int]]:
    """What `usage_hours.sums` has to find, entry by entry."""
    sums: dict[tuple[Any, ...], tuple[int, int]] = defaultdict(lambda: (0, 0))
    entries = LedgerEntry.objects.filter(kind="capture", organization=person.organization)
    for entry in entries.select_related("hold__price"):
        if not start <= entry.created_at < end:
            continue
        hour = entry.created_at.replace(minute=0, second=0, microsecond=0)
        hold = entry.hold
        assert hold
        parts = {"key": hold.api_key_id or 0, "size": hold.price.size, "payer": hold.payer}
        moments = {"hour": hour, "day": hour.replace(hour=0), "": None}
        part = (moments[bucket], *(parts[group] for group in group_by))
        images, micros = sums[part]
        sums[part] = (images + 1, micros + entry.amount_micros)
    return dict(sums)


@pytest.mark.django_db
@settings(max_examples=12)
@given(
    history=st.lists(captures, min_size=1, max_size=10),
    ends=st.lists(st.sampled_from(MOMENTS), min_size=2, max_size=2, unique=True),
    bucket=st.sampled_from(["hour", "day", ""]),
    group_by=groups,
)
def test_any_captures_are_summed_as_the_ledger_has_them(
    history: list[tuple[int, str, datetime, bool]],
    ends: list[datetime],
    bucket: str,
    group_by: list[str],
) -> None:
    with transaction.atomic():
        alice, charlie = make_owner("Alice"), make_owner("Charlie")
        second, _ = keys.mint(organization=alice.organization, name="Server", created_by=alice.user)
        callers = [
            *((alice, alice.key), (alice, second), (alice, None)),
            *((charlie, charlie.key), (charlie, None)),
        ]
        for person in (alice, charlie):
            subscribed(person)
        for number, size, moment, on_credit in history:
            person, key = callers[number]
            without_credit(person)
            if on_credit:
                Credit.objects.filter(organization=person.organization).update(
                    granted_micros=F("granted_micros") + 20_000
                )
            deliver(person, key, size, moment)
        assert used.by_hours() == used.by_ledger()
        start, end = sorted(ends)
        for person in (alice, charlie):
            assert usage_hours.sums(
                person.organization, start=start, end=end, bucket=bucket, group_by=group_by
            ) == counted(person, start, end, bucket, group_by)
        transaction.set_rollback(True)


def test_hold_entry_and_hour_are_of_one_moment(alice: Person) -> None:
    deliver(alice, alice.key, SIZES[0], NOON - timedelta(microseconds=1))
    hold, entry, hour = (
        Hold.objects.get(),
        LedgerEntry.objects.get(kind="capture"),
        UsageHour.objects.get(),
    )
    assert hold.ended_at == entry.created_at == NOON - timedelta(microseconds=1)
    assert hour.hour == NOON - timedelta(hours=1)


def test_what_is_rolled_back_or_ended_before_is_not_counted(alice: Person) -> None:
    hold = held(alice, alice.key)
    with transaction.atomic():
        assert holds.capture(hold)
        transaction.set_rollback(True)
    assert not UsageHour.objects.exists()
    hold.refresh_from_db()
    assert end(hold)
    assert not end(hold)
    assert UsageHour.objects.get().images == 1


@pytest.mark.django_db(transaction=True)
def test_captures_at_once_in_one_hour_lose_nothing(alice: Person, charlie: Person) -> None:
    pending = [held(person, key) for person in (alice, charlie) for key in (person.key, None)]
    pending += [held(alice, alice.key) for _ in range(8)]
    with at(NOON):
        assert at_once(*[lambda hold=hold: end(hold) for hold in pending]) == [True] * len(pending)
    assert used.by_hours() == used.by_ledger()


@pytest.mark.django_db(transaction=True)
def test_the_first_images_of_an_hour_do_not_refuse_one_another(alice: Person) -> None:
    """Without the budget's row, at which captures wait for one another."""
    hold = held(alice, alice.key)

    def add() -> None:
        with transaction.atomic():
            usage_hours.add(hold, at=NOON)

    assert at_once(*[add] * 12) == [None] * 12
    hour = UsageHour.objects.get()
    assert (hour.images, hour.micros) == (12, 12 * hold.amount_micros)


def names(person: Person, start: datetime, end: datetime) -> dict[str, int]:
    rows = usage.report(
        person.organization, start=start, end=end, bucket="day", group_by=["key", "size"]
    )
    return {row.key.name: row.images for row in rows if row.key}


def test_keys_that_are_gone_are_one_deleted_key(alice: Person) -> None:
    """In whole hours and in parts of one; what else there is keeps its name."""
    second, _ = rotation.rotate(key=alice.key, overlap=timedelta(0), created_by=None)
    third, _ = rotation.rotate(key=second, overlap=timedelta(0), created_by=None)
    gone = [second, third]
    for key in (alice.key, None, *gone):
        for minutes in (30, 90):
            deliver(alice, key, SIZES[0], NOON + timedelta(minutes=minutes))
    for key in gone:
        key.delete()
    for start, images in ((NOON, 2), (NOON + timedelta(minutes=10), 2)):
        found = names(alice, start, NOON + timedelta(hours=2))
        assert found == {"Deleted key": 2 * images, "Laptop": images, "Playground": images}


def test_the_name_of_a_key_is_not_told_to_another_organization(
    alice: Person, charlie: Person
) -> None:
    ApiKey.objects.filter(pk=charlie.key.pk).update(name="Charlie's")
    deliver(alice, alice.key, SIZES[0], NOON)
    UsageHour.objects.update(key=charlie.key.pk)
    assert names(alice, NOON, NOON + timedelta(hours=1)) == {"Deleted key": 1}


def test_a_period_may_begin_within_an_hour(alice: Person) -> None:
    """What the subscription paid from its second on, and nothing before, nor what credit paid."""
    start = NOON + timedelta(minutes=20, seconds=7)
    row = subscribed(alice, period_start=start)
    deliver(alice, alice.key, SIZES[0], start)
    without_credit(alice)
    tick = timedelta(microseconds=1)
    for moment in (start - tick, start, NOON + timedelta(hours=1), NOON + timedelta(days=40)):
        deliver(alice, alice.key, SIZES[2], moment)
    [spend] = period_to_date.of(row).sizes
    assert (spend.label, spend.images) == (SIZES[2], 3)


@pytest.mark.parametrize("span", [(0, 60), (15, 45), (15, 60), (0, 45), (15, 150), (0, 120)])
def test_a_span_may_begin_and_end_anywhere(alice: Person, span: tuple[int, int]) -> None:
    for minutes in range(0, 150, 15):
        deliver(alice, None, SIZES[0], NOON + timedelta(minutes=minutes))
    first, last = (NOON + timedelta(minutes=minutes) for minutes in span)
    [row] = usage.report(alice.organization, start=first, end=last, bucket="day", group_by=[])
    assert (row.start, row.end, row.images) == (first, last, (span[1] - span[0]) // 15)
