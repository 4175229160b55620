"""Money moves once, or not at all, and never more than was granted."""

import pytest
from django.db import IntegrityError, transaction

from billing.ledger import grants, holds, pricing
from billing.models import Credit, Hold, LedgerEntry
from tests.at_once import at_once
from tests.cast import Person, make_owner

PRICE = 20_000
IMAGES_COVERED = 20


def hold_for(person: Person) -> Hold:
    price = pricing.price_of(model="flux-1-schnell", size="1024x1024")
    with transaction.atomic():
        return holds.place(organization=person.organization, api_key=person.key, price=price)


def credit_of(person: Person) -> Credit:
    return Credit.objects.get(organization=person.organization)


def test_trial_credit_is_granted_and_booked(alice: Person) -> None:
    entry = LedgerEntry.objects.get()
    assert credit_of(alice).granted_micros == entry.amount_micros == 500_000
    assert (entry.debit, entry.credit) == ("promotions", "customer_credit")


def test_a_grant_adds_to_the_credit(alice: Person) -> None:
    grants.grant(organization=alice.organization, amount_micros=1_000, reason="Sorry for Tuesday")
    assert credit_of(alice).granted_micros == 501_000
    assert LedgerEntry.objects.filter(reason="Sorry for Tuesday", amount_micros=1_000).exists()


def test_a_hold_reserves_the_price_and_names_its_terms(alice: Person) -> None:
    hold = hold_for(alice)
    assert (hold.amount_micros, hold.payer, hold.cap_micros) == (PRICE, "credit", 500_000)
    assert hold.price.version == 1
    credit = credit_of(alice)
    assert (credit.pending_micros, credit.posted_micros) == (PRICE, 0)
    assert credit.remaining_micros == 480_000


def test_a_capture_charges_once_however_often_it_is_called(alice: Person) -> None:
    hold = hold_for(alice)
    assert holds.capture(hold)
    assert not holds.capture(hold)
    credit = credit_of(alice)
    assert (credit.pending_micros, credit.posted_micros) == (0, PRICE)
    entry = LedgerEntry.objects.get(kind="capture")
    assert (entry.hold, entry.amount_micros) == (hold, PRICE)
    assert (entry.debit, entry.credit) == ("customer_credit", "revenue")


def test_a_release_gives_back_once_however_often_it_is_called(alice: Person) -> None:
    hold = hold_for(alice)
    assert holds.release(hold)
    assert not holds.release(hold)
    credit = credit_of(alice)
    assert (credit.pending_micros, credit.posted_micros) == (0, 0)
    assert not LedgerEntry.objects.filter(kind="capture").exists()


@pytest.mark.parametrize(
    ("first", "second"), [(holds.capture, holds.release), (holds.release, holds.capture)]
)
def test_a_hold_ends_one_way_only(alice: Person, first, second) -> None:
    hold = hold_for(alice)
    assert first(hold)
    before = credit_of(alice)
    assert not second(Hold.objects.get(pk=hold.pk))
    after = credit_of(alice)
    assert (after.pending_micros, after.posted_micros) == (
        before.pending_micros,
        before.posted_micros,
    )


def test_the_last_cent_can_be_spent_and_nothing_after_it(db: None) -> None:
    person = make_owner("Frugal", credit_micros=PRICE)
    hold_for(person)
    with pytest.raises(holds.InsufficientQuota):
        hold_for(person)


def test_one_micro_dollar_short_is_too_little(db: None) -> None:
    person = make_owner("Frugal", credit_micros=PRICE - 1)
    with pytest.raises(holds.InsufficientQuota):
        hold_for(person)
    assert not Hold.objects.exists()
    assert credit_of(person).pending_micros == 0


def test_released_money_can_be_held_again(db: None) -> None:
    person = make_owner("Frugal", credit_micros=PRICE)
    holds.release(hold_for(person))
    holds.capture(hold_for(person))
    with pytest.raises(holds.InsufficientQuota):
        hold_for(person)


def test_one_organization_never_pays_for_another(alice: Person, charlie: Person) -> None:
    holds.capture(hold_for(alice))
    assert credit_of(charlie).remaining_micros == 500_000


def test_a_refusal_says_what_a_client_needs(unfunded: Person) -> None:
    with pytest.raises(holds.InsufficientQuota) as refused:
        hold_for(unfunded)
    refusal = refused.value
    assert (refusal.status, refusal.type, refusal.code) == (429, *["insufficient_quota"] * 2)
    assert refusal.headers == {"x-should-retry": "false"}


@pytest.mark.parametrize("columns", [{"posted_micros": 600_000}, {"pending_micros": -1}])
def test_the_database_refuses_an_overdrawn_row(alice: Person, columns: dict[str, int]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Credit.objects.filter(organization=alice.organization).update(**columns)


@pytest.mark.django_db(transaction=True)
def test_sixty_callers_at_once_get_what_the_credit_covers_and_no_more() -> None:
    person = make_owner("Busy", credit_micros=IMAGES_COVERED * PRICE)
    results = at_once(*[lambda: hold_for(person)] * 60)
    granted = [result for result in results if isinstance(result, Hold)]
    refused = [result for result in results if isinstance(result, holds.InsufficientQuota)]
    assert (len(granted), len(refused)) == (IMAGES_COVERED, 60 - IMAGES_COVERED)
    assert credit_of(person).pending_micros == IMAGES_COVERED * PRICE


@pytest.mark.django_db(transaction=True)
def test_many_ends_of_one_hold_at_once_move_its_money_once(alice: Person) -> None:
    hold = hold_for(alice)

    def end(verb):
        with transaction.atomic():
            return verb(Hold.objects.get(pk=hold.pk))

    ends = [lambda: end(holds.capture), lambda: end(holds.release)] * 8
    assert sorted(at_once(*ends)) == [False] * 15 + [True]
    credit = credit_of(alice)
    charged = LedgerEntry.objects.filter(kind="capture").count()
    assert (credit.pending_micros, credit.posted_micros) == (0, charged * PRICE)
