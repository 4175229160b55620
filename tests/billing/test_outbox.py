"""The pattern of every row that asks for work, on each table that has it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing import outbox
from billing.ledger import budgets
from billing.models import (
    Budget,
    LedgerEntry,
    Notice,
    Price,
    Refund,
    SpendAlert,
    UsageBatch,
    WebhookEvent,
)
from tests.at_once import at_once
from tests.cast import Person


def make_event(_person: Person) -> WebhookEvent:
    return WebhookEvent.objects.create(event_id="evt_1", type="x", created_at=timezone.now())


def make_batch(person: Person) -> UsageBatch:
    now = timezone.now()
    return UsageBatch.objects.create(
        organization=person.organization,
        price=Price.objects.order_by("pk")[0],
        quantity=1,
        first_captured_at=now,
        last_captured_at=now,
    )


def make_refund(person: Person) -> Refund:
    entry = LedgerEntry.objects.create(
        organization=person.organization,
        kind="refund",
        debit="revenue",
        credit="receivable",
        amount_micros=10_000,
    )
    return Refund.objects.create(organization=person.organization, entry=entry, cents=1)


def make_notice(person: Person) -> Notice:
    return Notice.objects.create(organization=person.organization, kind="trial_ended")


def make_alert(person: Person) -> SpendAlert:
    month = budgets.this_month()
    budget = Budget.objects.create(organization=person.organization, month=month)
    return SpendAlert.objects.create(
        budget=budget, month=month, percent=50, cap_micros=2, spent_micros=1
    )


MAKERS = (make_event, make_batch, make_refund, make_notice, make_alert)
of_each = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__[5:])


def begin(row: Any) -> bool:
    """Claim it as its sender does: a batch has a state beside its lease, and its first try fixes some facts."""
    if not isinstance(row, UsageBatch):
        return bool(row.claim())
    now = timezone.now()
    return row.claim(state="sending", timestamp=now, first_tried_at=now, customer_id="cus_1")


def after(row: Any) -> dict[str, str]:
    return {"state": "sealed"} if isinstance(row, UsageBatch) else {}


def is_due(row: Any) -> bool:
    return bool(type(row).objects.due().filter(pk=row.pk).exists())


def is_over(row: Any) -> None:
    """Its lease, or its wait."""
    past = timezone.now() - timedelta(seconds=1)
    rows = type(row).objects.filter(pk=row.pk)
    rows.exclude(claimed_until=None).update(claimed_until=past)
    rows.update(not_before=past)
    if isinstance(row, Notice | SpendAlert):
        rows.exclude(claimed_at=None).update(claimed_at=past - row.LEASE)


@of_each
@pytest.mark.django_db(transaction=True)
def test_of_those_who_claim_at_once_one_has_it(
    alice: Person, make: Callable[[Person], Any]
) -> None:
    row = make(alice)
    copies = [type(row).objects.get(pk=row.pk) for _ in range(4)]
    results = at_once(*[lambda copy=copy: begin(copy) for copy in copies])
    assert sorted(results) == [False, False, False, True]
    row.refresh_from_db()
    assert row.tries == 1
    assert not is_due(row)


@of_each
def test_a_dead_claimers_row_is_taken_over_and_its_end_comes_too_late(
    alice: Person, make: Callable[[Person], Any]
) -> None:
    dead = make(alice)
    assert begin(dead)
    living = type(dead).objects.get(pk=dead.pk)
    assert not begin(living)
    is_over(dead)
    if isinstance(dead, UsageBatch):
        UsageBatch.objects.update(state="sealed", claimed_until=None)
    assert is_due(living)
    assert begin(living)
    assert not dead.retry_later("too late", **after(dead))
    living.refresh_from_db()
    assert (living.tries, living.note) == (2, "")
    assert living.claimed_until > timezone.now()


@of_each
def test_what_failed_waits_longer_each_time(alice: Person, make: Callable[[Person], Any]) -> None:
    row = make(alice)
    waits = []
    for _ in range(12):
        assert begin(row)
        assert row.retry_later("x" * 600, **after(row))
        assert not is_due(row)
        row.refresh_from_db()
        assert row.note == "x" * 500
        waits.append((row.not_before - timezone.now()).total_seconds())
        is_over(row)
        assert is_due(row)
    assert waits[0] < 3 < waits[3] < waits[6]
    assert 140 <= min(waits[-3:]) <= max(waits) <= outbox.LONGEST_WAIT_SECONDS


@of_each
def test_what_is_done_is_never_due(alice: Person, make: Callable[[Person], Any]) -> None:
    row = make(alice)
    assert begin(row)
    is_over(row)
    assert row.done("fine", **({"state": "accepted"} if after(row) else {}))
    is_over(row)
    assert not is_due(row)
    assert not begin(row)
    row.refresh_from_db()
    assert (row.note, row.claimed_until, row.tries) == ("fine", None, 1)
    assert row.done_at


@pytest.mark.parametrize("make", [make_notice, make_alert])
def test_a_mail_that_the_previous_release_has_claimed_is_left_to_it(
    alice: Person, make: Callable[[Person], Any]
) -> None:
    row = make(alice)
    mine = type(row).objects.filter(pk=row.pk)
    mine.update(claimed_at=timezone.now() - timedelta(minutes=9))
    assert not is_due(row)
    assert not row.claim()
    mine.update(claimed_at=timezone.now() - timedelta(minutes=11))
    assert row.claim()
    # What that release looks at.
    row.refresh_from_db()
    assert row.claimed_at > timezone.now() - timedelta(minutes=1)
