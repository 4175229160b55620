"""As test_cases.py: ceilings, refunds, the grace of a failed payment, and what `reconcile --fix` does."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone

from billing import refunds, tasks
from billing.ledger import budgets, payers, pricing
from billing.models import Invoice, LedgerEntry, Refund, UsageBatch
from billing.reporting import batching, sending
from billing.subscriptions import syncing
from tests.billing.invoicing import hearing
from tests.billing.invoicing.figures import Table, check_books, figures_of
from tests.billing.invoicing.hearing import Hear, settle_all
from tests.billing.invoicing.test_cases import EVENTS, SIZE, name_of, row_of
from tests.billing.payments.books import pay
from tests.billing.payments.conftest import DECLINED
from tests.cast import Person
from tests.payment import buy, deliver, due_now, end_period, make_subscriber, report, subscribe
from tests.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.money


def set_price(cents: int) -> None:
    """From now on, at Stripe too."""
    pricing.set_price(model=pricing.DEFAULT_MODEL, size=SIZE, amount_micros=cents * 10_000)
    syncing.refresh_subscriptions()


# --- M7 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hear", hearing.OF_EVENTS, ids=name_of)
def test_m7_a_new_card_without_a_spend_limit(
    subscriber: Person, stripe_here: StripeSandbox, money_table: Table, hear: Hear
) -> None:
    budgets.set_cap(organization=subscriber.organization, cap_micros=None)
    set_price(200)
    # The ceiling of a new card is $50.
    buy(subscriber, SIZE, 25)
    with pytest.raises(payers.UnpaidLimitReached):
        buy(subscriber, SIZE)
    report()
    tasks.look_after_invoices()
    settle_all(stripe_here, hear)
    assert Invoice.objects.get(kind="interim").status == "paid"
    # What was paid has raised it to $100.
    buy(subscriber, SIZE, 50)
    with pytest.raises(payers.UnpaidLimitReached):
        buy(subscriber, SIZE)
    end_period(stripe_here, row_of(subscriber))
    figures = figures_of(subscriber, stripe_here)
    figures.check()
    check_books()
    money_table.add(f"M7 no spend limit, heard {name_of(hear)}", figures)


# --- M8 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "hear"),
    [("canceled", hear) for hear in hearing.OF_EVENTS] + [("deleted", hearing.by_webhook)],
)
def test_m8_a_refund_after_the_subscription_has_ended(
    subscriber: Person, stripe_here: StripeSandbox, money_table: Table, how: str, hear: Hear
) -> None:
    bought = buy(subscriber, SIZE, 30)
    end_period(stripe_here, row_of(subscriber))
    row, v1 = row_of(subscriber), stripe_here.client().v1
    if how == "canceled":
        v1.subscriptions.cancel(str(row.subscription_id), {"invoice_now": True})
    else:
        v1.customers.delete(str(row.customer_id))
    hear(stripe_here)
    settle_all(stripe_here)
    bought = list(subscriber.organization.holds.filter(pk__in=[hold.pk for hold in bought[:5]]))
    for hold in bought:
        refunds.refund_image(hold=hold, reason="Black", by="staff@example.com")
    for _ in range(2):
        Refund.objects.update(not_before=timezone.now())
        refunds.send_due()
        hear(stripe_here)
    assert {refund.to for refund in Refund.objects.all()} == {"card"}
    figures = figures_of(subscriber, stripe_here)
    assert figures.back == 10
    # The meters of a customer that is gone cannot be asked.
    figures.check(unmetered=60 if how == "deleted" else 0)
    check_books()
    money_table.add(f"M8 {how}, heard {name_of(hear)}", figures)


# --- M9 -------------------------------------------------------------------------------------------


def go_to(traveller: time_machine.Traveller, sandbox: StripeSandbox, moment: datetime) -> None:
    """The clocks of both are moved on to that moment."""
    traveller.move_to(moment)
    sandbox.advance_to(moment.timestamp())


def test_m9_the_grace_is_one_amount_over_the_end_of_a_month(
    unfunded: Person, stripe_here: StripeSandbox, money_table: Table
) -> None:
    today = datetime.now(UTC)
    month = (today.replace(day=1) + timedelta(days=32)).replace(day=28)
    next_month = (month + timedelta(days=5)).replace(day=2)
    with time_machine.travel(today, tick=True) as traveller:
        go_to(traveller, stripe_here, month)
        subscribe(unfunded, stripe_here, card=DECLINED)
        set_price(50)
        buy(unfunded, SIZE, 2)
        first = end_period(stripe_here, row_of(unfunded))
        assert row_of(unfunded).status == "past_due"
        buy(unfunded, SIZE, 6)
        report()
        go_to(traveller, stripe_here, next_month)
        deliver(stripe_here)
        buy(unfunded, SIZE, 4)
        with pytest.raises(payers.GraceLimitReached):
            buy(unfunded, SIZE)
        pay(stripe_here, Invoice.objects.get(stripe_id=first))
        deliver(stripe_here)
        assert row_of(unfunded).status == "active"
        buy(unfunded, SIZE)
        second = end_period(stripe_here, row_of(unfunded))
        pay(stripe_here, Invoice.objects.get(stripe_id=second))
        deliver(stripe_here)
        figures = figures_of(unfunded, stripe_here)
        figures.check()
        check_books()
    money_table.add("M9 (a) grace over a month's end", figures)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("others", [0, 1])
def test_m9_totals_that_lag_make_nothing_be_sent_twice(
    subscriber: Person, stripe_here: StripeSandbox, money_table: Table, one_try: None, others: int
) -> None:
    """Stripe took an event, its answer was lost, and a day later the totals do not show it yet."""
    people = [subscriber, *(make_subscriber("Tom", stripe_here) for _ in range(others))]
    for person in people:
        buy(person, SIZE, 30)
    batching.seal()
    stripe_here.settings(summary_lag_seconds=3_600)
    stripe_here.fault("accept_then_drop", path=EVENTS, method="POST", times=1)
    sending.send_due()
    UsageBatch.objects.filter(tries=1).update(first_tried_at=timezone.now() - timedelta(days=1))
    due_now()
    report()
    assert UsageBatch.objects.filter(state="unknown").count() == 1
    for _ in range(2):
        call_command("reconcile", "--fix")
        due_now()
        report()
    assert stripe_here.usage()["events"] == len(people)
    for person in people:
        end_period(stripe_here, row_of(person))
    for person in people:
        figures = figures_of(person, stripe_here)
        figures.check()
    check_books()
    what = "M9 (b) totals lag at reconcile --fix" + ", and another customer" * others
    money_table.add(what, figures)


@pytest.mark.parametrize("hear", hearing.OF_EVENTS[:2], ids=name_of)
def test_m9_an_invoice_that_is_void_is_no_difference(
    unfunded: Person, stripe_here: StripeSandbox, money_table: Table, hear: Hear
) -> None:
    subscribe(unfunded, stripe_here, card=DECLINED)
    made = []
    for _ in range(3):
        buy(unfunded, SIZE, 30)
        made.append(end_period(stripe_here, row_of(unfunded)))
        if len(made) != 2:
            pay(stripe_here, Invoice.objects.get(stripe_id=made[-1]))
        else:
            stripe_here.client().v1.invoices.void_invoice(made[-1])
        hear(stripe_here)
    assert LedgerEntry.objects.get(kind="write_off").amount_micros == 600_000
    figures = figures_of(unfunded, stripe_here)
    figures.check()
    check_books()
    money_table.add(f"M9 (c) voided, heard {name_of(hear)}", figures)
