"""Caps hold to the cent and places in flight to the image, whoever asks at once and whatever the month."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.keys import keys
from accounts.models import ApiKey, Organization
from billing.ledger import budgets, holds, month_to_date, pricing
from billing.ledger.budgets import InsufficientQuota, SpendLimitReached, TooManyInFlight
from billing.models import Budget, Credit, Hold
from tests.at_once import at_once
from tests.cast import Person, make_owner

PRICE = 10_000
THIS_MONTH = budgets.this_month()
LAST_MONTH = (THIS_MONTH - timedelta(days=1)).replace(day=1)
NEXT_MONTH = (THIS_MONTH + timedelta(days=31)).replace(day=1)
raced = pytest.mark.django_db(transaction=True)


def hold_for(person: Person, key: ApiKey | None = None) -> Hold:
    """Alone in its transaction, so that a refusal takes everything back."""
    price = pricing.price_of(model="flux-1-schnell", size="512x512")
    with transaction.atomic():
        row = ApiKey.objects.get(pk=(key or person.key).pk)
        return holds.place(organization=person.organization, api_key=row, price=price)


def end(verb: Any, hold: Hold) -> bool:
    with transaction.atomic():
        return verb(Hold.objects.get(pk=hold.pk))


def limit_organization(person: Person, **limits: Any) -> None:
    Organization.objects.filter(pk=person.organization.pk).update(**limits)


def limit_key(key: ApiKey, **limits: Any) -> None:
    ApiKey.objects.filter(pk=key.pk).update(**limits)


def limit(whose: str, person: Person, **limits: Any) -> None:
    if whose == "organization":
        limit_organization(person, **limits)
    else:
        limit_key(person.key, **limits)


def of_organization(person: Person) -> tuple[int, int, int]:
    """(pending, posted, in flight) of the organization's row."""
    budget = Budget.objects.of_organization(person.organization).get()
    return budget.pending_micros, budget.posted_micros, budget.in_flight


def of_key(key: ApiKey) -> tuple[int, int, int]:
    """The same of the row of the key's line."""
    budget = Budget.objects.of_key(key).get()
    return budget.pending_micros, budget.posted_micros, budget.in_flight


def forget_budgets(*, keys_only: bool = False) -> None:
    """The holds were made before there were budgets, or before the key had one."""
    Hold.objects.update(key_budget=None)
    Budget.objects.filter(**({"api_key__isnull": False} if keys_only else {})).delete()


def sorted_out(results: list[Any]) -> tuple[int, int]:
    """(granted, refused); anything else fails."""
    granted = [result for result in results if isinstance(result, Hold)]
    refused = [r for r in results if isinstance(r, InsufficientQuota | TooManyInFlight)]
    assert len(granted) + len(refused) == len(results), results
    return len(granted), len(refused)


@raced
@pytest.mark.parametrize("whose", ["organization", "key"])
def test_of_many_at_once_a_cap_grants_exactly_what_it_covers(whose: str) -> None:
    person = make_owner("Busy")
    limit(whose, person, monthly_cap_micros=7 * PRICE + 9)
    assert sorted_out(at_once(*[lambda: hold_for(person)] * 24)) == (7, 17)
    assert of_organization(person) == of_key(person.key) == (7 * PRICE, 0, 7)
    assert Credit.objects.get().pending_micros == 7 * PRICE


@raced
@pytest.mark.parametrize("whose", ["organization", "key"])
def test_of_many_at_once_as_many_are_in_flight_as_may_be(whose: str) -> None:
    person = make_owner("Busy")
    limit(whose, person, images_in_flight=5)
    results = at_once(*[lambda: hold_for(person)] * 24)
    assert sorted_out(results) == (5, 19)
    assert {type(r) for r in results} == {Hold, TooManyInFlight}
    assert of_organization(person) == (5 * PRICE, 0, 5)


@raced
def test_two_keys_at_once_share_the_organizations_cap() -> None:
    person = make_owner("Busy")
    other, _ = keys.mint(organization=person.organization, name="Other")
    limit_organization(person, monthly_cap_micros=6 * PRICE)
    calls = [lambda: hold_for(person), lambda: hold_for(person, other)] * 8
    assert sorted_out(at_once(*calls)) == (6, 10)
    # Now and then one key is granted all six; the other one's row went back with its refusals.
    lines = Budget.objects.filter(api_key__in=[person.key, other])
    assert sum(line.in_flight for line in lines) == of_organization(person)[2] == 6


@raced
def test_ends_and_new_holds_at_once_leave_right_sums() -> None:
    person = make_owner("Busy")
    limit_organization(person, images_in_flight=6)
    begun = [hold_for(person) for _ in range(6)]
    ends = [
        lambda hold=hold, verb=verb: end(verb, hold)
        for hold, verb in zip(begun, [holds.capture, holds.release] * 3, strict=True)
    ]
    results = at_once(*ends, *[lambda: hold_for(person)] * 6)
    assert results[:6] == [True] * 6
    granted, _refused = sorted_out(results[6:])
    sums = (granted * PRICE, 3 * PRICE, granted)
    assert of_organization(person) == of_key(person.key) == sums


@raced
def test_the_first_use_by_many_at_once_makes_one_row_each() -> None:
    person = make_owner("Busy")
    assert sorted_out(at_once(*[lambda: hold_for(person)] * 12)) == (12, 0)
    assert Budget.objects.count() == 2
    assert of_organization(person) == of_key(person.key) == (12 * PRICE, 0, 12)


def test_a_refusal_by_a_key_leaves_nothing_on_the_organization(alice: Person) -> None:
    limit_key(alice.key, monthly_cap_micros=PRICE)
    hold_for(alice)
    with pytest.raises(SpendLimitReached) as refused:
        hold_for(alice)
    assert "This API key has reached its spend limit" in str(refused.value)
    assert "429" not in str(refused.value)
    assert refused.value.budget == Budget.objects.of_key(alice.key).get()
    assert of_organization(alice) == of_key(alice.key) == (PRICE, 0, 1)
    assert Credit.objects.get().pending_micros == PRICE
    assert Hold.objects.count() == 1


def test_a_refusal_by_the_credit_leaves_nothing_in_the_budgets(db: None) -> None:
    person = make_owner("Frugal", credit_micros=PRICE)
    hold_for(person)
    with pytest.raises(InsufficientQuota):
        hold_for(person)
    assert of_organization(person) == of_key(person.key) == (PRICE, 0, 1)


def test_captured_and_released_settle_both_rows(alice: Person) -> None:
    first, second = hold_for(alice), hold_for(alice)
    assert of_organization(alice) == of_key(alice.key) == (2 * PRICE, 0, 2)
    end(holds.capture, first)
    assert of_organization(alice) == of_key(alice.key) == (PRICE, PRICE, 1)
    end(holds.release, second)
    assert of_organization(alice) == of_key(alice.key) == (0, PRICE, 0)


def test_a_second_end_settles_nothing(alice: Person) -> None:
    hold = hold_for(alice)
    end(holds.capture, hold)
    assert not end(holds.release, hold)
    assert not end(holds.capture, hold)
    assert of_organization(alice) == of_key(alice.key) == (0, PRICE, 0)


def test_the_playground_counts_for_the_organization_alone(alice: Person) -> None:
    price = pricing.price_of(model="flux-1-schnell", size="512x512")
    hold = holds.place(organization=alice.organization, api_key=None, price=price)
    assert hold.key_budget is None
    end(holds.capture, hold)
    assert of_organization(alice) == (0, PRICE, 0)
    assert Budget.objects.count() == 1


def test_a_hold_remembers_the_tightest_cap(alice: Person) -> None:
    limit_organization(alice, monthly_cap_micros=9 * PRICE)
    limit_key(alice.key, monthly_cap_micros=4 * PRICE)
    hold_for(alice)
    hold = hold_for(alice)
    assert (hold.reserved_micros, hold.cap_micros) == (2 * PRICE, 4 * PRICE)
    assert hold.month == THIS_MONTH
    with pytest.raises(IntegrityError), transaction.atomic():
        Hold.objects.filter(pk=hold.pk).update(cap_micros=2 * PRICE - 1)


def test_a_cap_of_nothing_refuses_everything(alice: Person) -> None:
    limit_organization(alice, monthly_cap_micros=0)
    with pytest.raises(SpendLimitReached):
        hold_for(alice)
    assert not Budget.objects.exists()


def test_a_new_month_begins_at_nothing(alice: Person) -> None:
    end(holds.capture, hold_for(alice))
    limit_organization(alice, monthly_cap_micros=PRICE)
    Budget.objects.update(month=LAST_MONTH)
    Hold.objects.update(month=LAST_MONTH)
    Budget.objects.of_organization(alice.organization).update(exhausted_at="2026-01-01T00:00Z")
    hold = hold_for(alice)
    assert hold.month == THIS_MONTH
    assert of_organization(alice) == of_key(alice.key) == (PRICE, 0, 1)
    assert not Budget.objects.filter(exhausted_at__isnull=False).exists()


@pytest.mark.parametrize("verb", [holds.capture, holds.release])
def test_a_hold_of_last_month_changes_no_sum_of_this_one(alice: Person, verb: Any) -> None:
    old = hold_for(alice)
    Budget.objects.update(month=LAST_MONTH)
    Hold.objects.update(month=LAST_MONTH)
    hold_for(alice)
    assert of_organization(alice) == of_key(alice.key) == (PRICE, 0, 2)
    end(verb, old)
    assert of_organization(alice) == of_key(alice.key) == (PRICE, 0, 1)


def test_a_hold_of_last_month_settles_where_last_month_still_stands(alice: Person) -> None:
    """The playground began the new month, and the key has not been used in it."""
    old = hold_for(alice)
    Budget.objects.update(month=LAST_MONTH)
    Hold.objects.update(month=LAST_MONTH)
    price = pricing.price_of(model="flux-1-schnell", size="512x512")
    holds.place(organization=alice.organization, api_key=None, price=price)
    end(holds.capture, old)
    assert of_organization(alice) == (PRICE, 0, 1)
    assert of_key(alice.key) == (0, PRICE, 0)


def test_images_in_flight_span_months(alice: Person) -> None:
    hold_for(alice)
    Budget.objects.update(month=LAST_MONTH)
    Hold.objects.update(month=LAST_MONTH)
    limit_organization(alice, images_in_flight=1)
    with pytest.raises(TooManyInFlight):
        hold_for(alice)
    assert Budget.objects.filter(month=LAST_MONTH).count() == 2


def test_a_host_whose_clock_is_behind_counts_in_the_month_that_has_begun(alice: Person) -> None:
    hold_for(alice)
    Budget.objects.update(month=NEXT_MONTH)
    Hold.objects.update(month=NEXT_MONTH)
    hold = hold_for(alice)
    assert hold.month == NEXT_MONTH
    end(holds.capture, hold)
    assert of_organization(alice) == of_key(alice.key) == (PRICE, PRICE, 1)


def test_a_host_whose_clock_is_behind_takes_a_key_along(alice: Person) -> None:
    hold_for(alice)
    Budget.objects.of_organization(alice.organization).update(month=NEXT_MONTH)
    hold = hold_for(alice)
    assert hold.month == Budget.objects.of_key(alice.key).get().month == NEXT_MONTH
    assert of_key(alice.key) == (PRICE, 0, 2)


def test_a_key_is_never_a_month_ahead_of_its_organization(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cap refuses the first image of a month; then a host comes whose clock is a second behind."""
    march, april = date(2026, 3, 1), date(2026, 4, 1)
    monkeypatch.setattr(budgets, "this_month", lambda: april)
    ApiKey.objects.update(monthly_cap_micros=0)
    with pytest.raises(SpendLimitReached) as refused, transaction.atomic():
        hold_for(alice)
    budgets.note_exhausted(refused.value.budget)
    ApiKey.objects.update(monthly_cap_micros=None)
    monkeypatch.setattr(budgets, "this_month", lambda: march)
    assert hold_for(alice).month == april
    assert {row.month for row in Budget.objects.all()} == {april}


def test_the_first_use_counts_holds_that_were_there_before(alice: Person) -> None:
    end(holds.capture, hold_for(alice))
    older = hold_for(alice)
    end(holds.release, hold_for(alice))
    of_last_month = hold_for(alice)
    Hold.objects.filter(pk=of_last_month.pk).update(month=LAST_MONTH)
    forget_budgets()
    hold_for(alice)
    assert of_organization(alice) == of_key(alice.key) == (2 * PRICE, PRICE, 3)
    end(holds.capture, older)
    end(holds.capture, of_last_month)
    assert of_organization(alice) == of_key(alice.key) == (PRICE, 2 * PRICE, 1)


def test_a_hold_read_before_its_key_had_a_budget_settles_there(alice: Person) -> None:
    hold_for(alice)
    forget_budgets(keys_only=True)
    as_a_worker_read_it = Hold.objects.get()
    hold_for(alice)
    assert of_key(alice.key) == (2 * PRICE, 0, 2)
    assert as_a_worker_read_it.key_budget_id is None
    holds.capture(as_a_worker_read_it)
    assert of_organization(alice) == of_key(alice.key) == (PRICE, PRICE, 1)


@raced
def test_the_first_use_while_older_holds_end_loses_none_of_them() -> None:
    person = make_owner("Busy")
    older = [hold_for(person) for _ in range(6)]
    forget_budgets()
    ends = [lambda hold=hold: end(holds.capture, hold) for hold in older]
    results = at_once(*ends, *[lambda: hold_for(person)] * 4)
    assert results[:6] == [True] * 6
    assert sorted_out(results[6:]) == (4, 0)
    assert of_organization(person) == (4 * PRICE, 6 * PRICE, 4)
    assert of_key(person.key)[::2] == (4 * PRICE, 4)


def test_rotated_keys_share_one_budget(alice: Person) -> None:
    newer, _ = keys.mint(organization=alice.organization, name="Laptop", root=alice.key)
    newest, _ = keys.mint(organization=alice.organization, name="Laptop", root=alice.key)
    for key in (alice.key, newer, newest):
        limit_key(key, monthly_cap_micros=2 * PRICE)
    hold_for(alice, newer)
    hold_for(alice)
    with pytest.raises(SpendLimitReached):
        hold_for(alice, newest)
    assert of_key(newest) == of_key(alice.key) == (2 * PRICE, 0, 2)
    assert Budget.objects.count() == 2


def test_one_key_never_uses_up_another(alice: Person, bob: Person) -> None:
    limit_key(alice.key, monthly_cap_micros=PRICE, images_in_flight=1)
    hold_for(alice)
    hold_for(bob)
    assert of_organization(alice) == (2 * PRICE, 0, 2)


def test_lifted_limits_lift_places_in_flight_and_never_caps(alice: Person) -> None:
    limit_organization(alice, limits_lifted=True, images_in_flight=1, monthly_cap_micros=3 * PRICE)
    for _ in range(3):
        hold_for(alice)
    with pytest.raises(SpendLimitReached):
        hold_for(alice)


def test_the_installations_default_of_places_in_flight_holds(alice: Person, settings) -> None:
    settings.IMAGES_IN_FLIGHT = 2
    hold_for(alice)
    hold_for(alice)
    with pytest.raises(TooManyInFlight) as refused:
        hold_for(alice)
    refusal = refused.value
    assert (refusal.status, refusal.type, refusal.code) == (
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
    )
    assert "2 images are in flight, as many as your organization may have" in str(refusal)


def test_a_limit_of_a_key_names_the_key(alice: Person) -> None:
    limit_key(alice.key, images_in_flight=1)
    hold_for(alice)
    with pytest.raises(TooManyInFlight, match="as many as this API key may have"):
        hold_for(alice)


def test_who_cannot_pay_is_told_so_before_being_told_to_wait(db: None) -> None:
    person = make_owner("Frugal", credit_micros=PRICE)
    limit_organization(person, images_in_flight=1)
    hold_for(person)
    with pytest.raises(InsufficientQuota) as refused:
        hold_for(person)
    assert "no credit left" in str(refused.value)


def test_who_reached_the_cap_is_told_so_before_being_told_to_wait(alice: Person) -> None:
    limit_organization(alice, images_in_flight=1, monthly_cap_micros=PRICE)
    hold_for(alice)
    with pytest.raises(SpendLimitReached):
        hold_for(alice)


def test_a_changed_limit_holds_from_the_next_image_on(alice: Person) -> None:
    """Although the caller's organization and key were read before."""
    hold_for(alice)
    budgets.set_cap(
        organization=Organization.objects.get(pk=alice.organization.pk), cap_micros=PRICE
    )
    with pytest.raises(SpendLimitReached):
        hold_for(alice)
    budgets.set_cap(organization=alice.organization, cap_micros=None)
    assert hold_for(alice).cap_micros == 500_000


def test_a_refusal_by_the_cap_is_noted_once(alice: Person) -> None:
    limit_organization(alice, monthly_cap_micros=PRICE)
    hold_for(alice)
    for _ in range(2):
        with pytest.raises(SpendLimitReached) as refused:
            hold_for(alice)
        budgets.note_exhausted(refused.value.budget)
    first = Budget.objects.of_organization(alice.organization).get().exhausted_at
    assert first
    stale = Budget(organization=alice.organization, month=THIS_MONTH)
    budgets.note_exhausted(stale)
    assert Budget.objects.of_organization(alice.organization).get().exhausted_at == first


@pytest.mark.parametrize("whose", ["organization", "key"])
def test_a_refusal_that_took_its_own_row_back_is_noted_too(alice: Person, whose: str) -> None:
    limit(whose, alice, monthly_cap_micros=PRICE - 1)
    with pytest.raises(SpendLimitReached) as refused:
        hold_for(alice)
    assert not Budget.objects.exists()
    budgets.note_exhausted(refused.value.budget)
    noted = Budget.objects.get(exhausted_at__isnull=False)
    assert (noted.month, noted.api_key_id is None) == (THIS_MONTH, whose == "organization")


def test_what_last_months_cap_refused_is_not_noted_in_this_month(alice: Person) -> None:
    hold_for(alice)
    last = Budget.objects.of_organization(alice.organization).get()
    last.month = LAST_MONTH
    budgets.note_exhausted(last)
    assert Budget.objects.of_organization(alice.organization).get().exhausted_at is None


def test_a_new_cap_forgets_what_the_old_one_refused(alice: Person) -> None:
    limit_organization(alice, monthly_cap_micros=PRICE)
    hold_for(alice)
    budgets.note_exhausted(Budget.objects.of_organization(alice.organization).get())
    budgets.set_cap(organization=alice.organization, cap_micros=3 * PRICE)
    assert Budget.objects.of_organization(alice.organization).get().exhausted_at is None


def test_the_month_to_date_is_what_the_next_image_would_find(alice: Person) -> None:
    budgets.set_cap(organization=alice.organization, cap_micros=3 * PRICE)
    assert month_to_date.of(alice.organization).reserved_micros == 0
    end(holds.capture, hold_for(alice))
    hold_for(alice)
    now = month_to_date.of(alice.organization)
    assert (now.spent_micros, now.held_micros, now.percent, now.cap_reached) == (
        PRICE,
        PRICE,
        66,
        False,
    )
    hold_for(alice)
    assert month_to_date.of(alice.organization).cap_reached
    Budget.objects.update(month=LAST_MONTH)
    now = month_to_date.of(alice.organization)
    assert (now.month, now.reserved_micros, now.cap_reached) == (THIS_MONTH, 0, False)


def test_the_month_to_date_before_the_first_image_counts_what_was_there(alice: Person) -> None:
    end(holds.capture, hold_for(alice))
    forget_budgets()
    assert month_to_date.of(alice.organization).spent_micros == PRICE
    assert not Budget.objects.exists()
