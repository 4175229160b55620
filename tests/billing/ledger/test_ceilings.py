"""What an organization may owe: the ceiling holds to the cent, whoever asks at once, and moves with what is paid."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing import refunds, tasks
from billing.ledger import budgets, ceilings, entries, holds, payers
from billing.models import (
    Budget,
    Credit,
    Hold,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    Subscription,
    UsageBatch,
    payment,
)
from billing.reporting import batching
from tests.at_once import at_once
from tests.billing.ledger.test_budgets import PRICE, end, hold_for, limit_organization
from tests.cast import Person, make_owner
from tests.mails import sent
from tests.pages.paying import subscribed, without_credit

Account = LedgerEntry.Account
raced = pytest.mark.django_db(transaction=True)


def owing(person: Person, **fields: Any) -> Person:
    """A subscriber without credit whose invoices were read."""
    without_credit(person)
    subscribed(person, **{"invoices_read_at": timezone.now()} | fields)
    return person


def change(person: Person, **fields: Any) -> None:
    Subscription.objects.filter(pk=person.organization.pk).update(**fields)


def unpaid(person: Person) -> tuple[int, int]:
    """(owed, held) of the organization's row."""
    budget = Budget.objects.of_organization(person.organization).get()
    return budget.owed_micros, budget.owed_pending_micros


def use(person: Person, images: int) -> list[Hold]:
    made = [hold_for(person) for _ in range(images)]
    for hold in made:
        assert end(holds.capture, hold)
    return list(Hold.objects.filter(pk__in=[hold.pk for hold in made]))


def pay(person: Person, micros: int) -> None:
    """As the payment of an invoice is recorded."""
    entries.post(
        organization=person.organization,
        kind=LedgerEntry.Kind.PAYMENT,
        debit=Account.STRIPE,
        credit=Account.RECEIVABLE,
        amount_micros=micros,
    )
    row = Subscription.objects.get(pk=person.organization.pk)
    change(person, paid_micros=row.paid_micros + micros)


@raced
def test_of_many_at_once_exactly_those_under_the_ceiling_are_granted() -> None:
    person = owing(make_owner("Busy"), unpaid_limit_micros=10 * PRICE + 9)
    use(person, 3)
    results = at_once(*[lambda: hold_for(person)] * 24)
    granted = [result for result in results if isinstance(result, Hold)]
    refused = [result for result in results if isinstance(result, payers.UnpaidLimitReached)]
    assert (len(granted), len(refused)) == (7, 17), results
    assert unpaid(person) == (3 * PRICE, 7 * PRICE)
    assert max(hold.reserved_micros for hold in granted) == 10 * PRICE
    assert {hold.cap_micros for hold in granted} == {10 * PRICE + 9}


@raced
def test_of_many_at_once_the_grace_admits_exactly_its_allowance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payment, "GRACE_ALLOWANCE_MICROS", 5 * PRICE)
    person = owing(make_owner("Busy"), invoices_read_at=None)
    use(person, 2)
    change(
        person,
        status="past_due",
        past_due_since=timezone.now(),
        past_due_owed_micros=2 * PRICE,
    )
    results = at_once(*[lambda: hold_for(person)] * 20)
    assert sum(isinstance(result, Hold) for result in results) == 5, results
    assert sum(isinstance(result, payers.GraceLimitReached) for result in results) == 15


def test_a_refusal_says_what_is_unpaid_and_leaves_nothing(alice: Person) -> None:
    owing(alice, unpaid_limit_micros=2 * PRICE)
    use(alice, 2)
    with pytest.raises(payers.UnpaidLimitReached) as refused:
        hold_for(alice)
    text = str(refused.value)
    assert "has $0.020 of unpaid use" in text
    assert "at most $0.020" in text
    assert "Nothing was charged" in text
    assert (refused.value.status, refused.value.code) == (429, "insufficient_quota")
    assert refused.value.headers == {"x-should-retry": "false"}
    assert unpaid(alice) == (2 * PRICE, 0)
    assert Hold.objects.filter(state="pending").count() == 0


def test_what_is_released_is_not_owed(alice: Person) -> None:
    owing(alice, unpaid_limit_micros=PRICE)
    end(holds.release, hold_for(alice))
    hold_for(alice)
    with pytest.raises(payers.UnpaidLimitReached):
        hold_for(alice)


def test_what_credit_pays_is_not_owed(alice: Person) -> None:
    subscribed(alice, invoices_read_at=timezone.now(), unpaid_limit_micros=PRICE)
    use(alice, 3)
    assert unpaid(alice) == (0, 0)
    without_credit(alice)
    use(alice, 1)
    with pytest.raises(payers.UnpaidLimitReached):
        hold_for(alice)
    Credit.objects.update(granted_micros=10**6)
    use(alice, 1)


def test_a_payment_makes_room_and_raises_the_ceiling(alice: Person, settings: Any) -> None:
    settings.SPENDING = replace(
        settings.SPENDING,
        unpaid_micros=3 * PRICE,
        unpaid_paid_percent=50,
        unpaid_most_micros=6 * PRICE,
    )
    owing(alice)
    use(alice, 3)
    with pytest.raises(payers.UnpaidLimitReached):
        hold_for(alice)
    pay(alice, 2 * PRICE)
    assert ceilings.ceiling_micros(Subscription.objects.get()) == 4 * PRICE
    use(alice, 3)
    with pytest.raises(payers.UnpaidLimitReached):
        hold_for(alice)
    pay(alice, 40 * PRICE)
    assert ceilings.ceiling_micros(Subscription.objects.get()) == 6 * PRICE


def test_what_was_paid_back_never_lowers_the_first_ceiling(alice: Person, settings: Any) -> None:
    row = subscribed(alice, invoices_read_at=timezone.now(), paid_micros=-5 * PRICE)
    assert ceilings.ceiling_micros(row) == settings.SPENDING.unpaid_micros == 50_000_000


def test_a_refund_lowers_what_is_owed(alice: Person) -> None:
    owing(alice, unpaid_limit_micros=2 * PRICE)
    used = use(alice, 2)
    with pytest.raises(payers.UnpaidLimitReached):
        hold_for(alice)
    refunds.refund_image(hold=used[0], reason="torn", by="staff@example.com")
    assert unpaid(alice) == (PRICE, 0)
    use(alice, 1)


def test_no_ceiling_holds_before_the_invoices_were_read(alice: Person) -> None:
    owing(alice, unpaid_limit_micros=PRICE, invoices_read_at=None)
    [*_, last] = use(alice, 3)
    assert last.cap_micros is None


def test_the_tightest_cap_is_kept_with_the_hold(alice: Person) -> None:
    owing(alice, unpaid_limit_micros=9 * PRICE)
    limit_organization(alice, monthly_cap_micros=20 * PRICE)
    assert hold_for(alice).cap_micros == 9 * PRICE
    limit_organization(alice, monthly_cap_micros=3 * PRICE)
    assert hold_for(alice).cap_micros == 3 * PRICE


def test_the_grace_is_one_amount_over_the_end_of_a_month(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payment, "GRACE_ALLOWANCE_MICROS", 3 * PRICE)
    owing(alice)
    use(alice, 4)
    change(
        alice,
        status="past_due",
        past_due_since=timezone.now() - timedelta(days=1),
        past_due_owed_micros=4 * PRICE,
    )
    use(alice, 2)
    later = (budgets.this_month() + timedelta(days=32)).replace(day=1)
    monkeypatch.setattr(budgets, "this_month", lambda: later)
    use(alice, 1)
    assert Budget.objects.of_organization(alice.organization).get().month == later
    with pytest.raises(payers.GraceLimitReached, match=r"at most \$0\.070 may be unpaid"):
        hold_for(alice)


def test_a_failed_payment_never_raises_the_ceiling(alice: Person) -> None:
    owing(alice, unpaid_limit_micros=2 * PRICE)
    use(alice, 2)
    change(alice, status="past_due", past_due_since=timezone.now(), past_due_owed_micros=2 * PRICE)
    with pytest.raises(payers.GraceLimitReached):
        hold_for(alice)


def test_the_ceiling_costs_no_statement(alice: Person) -> None:
    owing(alice, invoices_read_at=None)
    hold_for(alice)
    counts = []
    for read_at in (None, timezone.now()):
        change(alice, invoices_read_at=read_at)
        with CaptureQueriesContext(connection) as queries:
            hold_for(alice)
        counts.append(len(queries))
    assert counts[0] == counts[1]


# --- when an interim invoice is due ---------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invoices of cents, so that few images make one due."""
    monkeypatch.setattr(ceilings, "LEAST_CHARGE_MICROS", 1)


def claim(person: Person, batch: UsageBatch, **fields: Any) -> None:
    """As an invoice claims the batch."""
    invoice = Invoice.objects.create(
        organization=person.organization,
        kind="period",
        stripe_id=f"in_{batch.pk}",
        customer_id="cus_1",
        **fields,
    )
    line = InvoiceLine.objects.create(invoice=invoice, price=batch.price)
    UsageBatch.objects.filter(pk=batch.pk).update(invoice_line=line)


@pytest.mark.usefixtures("small")
def test_an_interim_invoice_is_due_at_half_of_the_ceiling(alice: Person, charlie: Person) -> None:
    owing(alice, unpaid_limit_micros=10 * PRICE)
    owing(charlie, unpaid_limit_micros=10 * PRICE)
    use(charlie, 2)
    use(alice, 4)
    batching.seal()
    assert ceilings.interim_due() == []
    use(alice, 1)
    assert ceilings.interim_due() == [alice.organization.pk]
    batching.seal()
    assert ceilings.interim_due() == [alice.organization.pk]
    claim(alice, UsageBatch.objects.filter(organization=alice.organization).first())
    assert ceilings.interim_due() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"invoices_read_at": None},
        {"frozen_at": timezone.now()},
        {"status": "canceled"},
        {"status": "past_due", "past_due_since": timezone.now()},
    ],
)
@pytest.mark.usefixtures("small")
def test_no_interim_invoice_is_due_of_others(alice: Person, fields: dict[str, Any]) -> None:
    owing(alice, unpaid_limit_micros=PRICE)
    use(alice, 1)
    assert ceilings.interim_due() == [alice.organization.pk]
    change(alice, **fields)
    assert ceilings.interim_due() == []


@pytest.mark.usefixtures("small")
def test_none_is_due_while_one_is_a_draft_or_the_use_is_paid(alice: Person) -> None:
    owing(alice, unpaid_limit_micros=2 * PRICE)
    use(alice, 2)
    draft = Invoice.objects.create(
        organization=alice.organization, kind="interim", customer_id="cus_1"
    )
    assert ceilings.interim_due() == []
    draft.delete()
    assert ceilings.interim_due() == [alice.organization.pk]
    pay(alice, 2 * PRICE)
    assert ceilings.interim_due() == []


@pytest.mark.usefixtures("small")
def test_a_look_at_many_is_few_queries(
    alice: Person, charlie: Person, django_assert_max_num_queries: Any
) -> None:
    for person in (alice, charlie):
        owing(person, unpaid_limit_micros=2 * PRICE)
        use(person, 2)
    with django_assert_max_num_queries(4):
        assert len(ceilings.interim_due()) == 2


def test_none_is_due_for_less_than_stripe_charges(alice: Person) -> None:
    owing(alice, unpaid_limit_micros=60 * PRICE)
    use(alice, 49)
    assert ceilings.interim_due() == []
    use(alice, 1)
    assert ceilings.interim_due() == [alice.organization.pk]


# --- who is told ----------------------------------------------------------------------------------


def test_near_the_ceiling_a_mail_goes_once_for_each_ceiling(alice: Person, charlie: Person) -> None:
    owing(alice, unpaid_limit_micros=10 * PRICE)
    owing(charlie, unpaid_limit_micros=20 * PRICE)
    use(charlie, 8)
    use(alice, 7)
    tasks.alert()
    tasks.notify()
    assert sent() == []
    use(alice, 1)
    for _ in range(2):
        tasks.alert()
        tasks.notify()
    [mail] = sent()
    assert mail.to == [alice.user.email]
    assert mail.subject.startswith("80 % of the ceiling of unpaid use is reached")
    assert "$0.08 of unpaid use" in mail.body
    assert "each payment raises" not in mail.body
    change(alice, unpaid_limit_micros=9 * PRICE)
    tasks.alert()
    tasks.notify()
    assert len(sent()) == 2
