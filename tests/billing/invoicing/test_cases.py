"""The cases in which money was lost or charged twice, each from the image to the payment, in cents.

Each is played through the real functions against the sandbox, and ends with figures from places that know nothing
of each other (figures.py). `make test-money` prints them.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import tasks
from billing.gateway import subscriptions as at_stripe
from billing.invoicing import comparing, own, settling, writing_off
from billing.ledger import pricing
from billing.models import Invoice, InvoiceLine, LedgerEntry, Notice, Subscription, UsageBatch
from billing.reporting import batching, confirming, sending
from billing.subscriptions import syncing
from tests.billing.invoicing import hearing
from tests.billing.invoicing.figures import Table, check_books, figures_of
from tests.billing.invoicing.hearing import Hear, settle_all
from tests.billing.subscriptions.test_two_checkouts import begin_two, complete_two
from tests.cast import Person
from tests.payment import (
    await_next_second,
    buy,
    deliver,
    end_period,
    make_subscriber,
    report,
    subscribe,
)
from tests.stripe_catalog import stock
from tests.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.money

EVENTS = "/v1/billing/meter_events$"
SIZE = "1024x1024"  # 2 cents


def row_of(person: Person) -> Subscription:
    return Subscription.objects.get(pk=person.organization.pk)


def begin_interim(person: Person) -> None:
    """30 images are billed by an interim invoice before the case begins."""
    buy(person, SIZE, 30)
    report()
    assert own.make(person.organization, Invoice.Kind.INTERIM)
    settling.work()


def name_of(hear: Hear) -> str:
    return hear.__name__.replace("_", " ")


# --- M1 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hear", hearing.ALL, ids=name_of)
def test_m1_two_checkouts_are_completed(
    unfunded: Person, stripe_here: StripeSandbox, money_table: Table, hear: Hear
) -> None:
    stock(stripe_here)
    first, second = begin_two(unfunded)
    stripe_here.complete_checkout(first)
    deliver(stripe_here)
    kept = str(row_of(unfunded).subscription_id)
    stripe_here.complete_checkout(second)
    buy(unfunded, SIZE, 30)
    report()
    hear(stripe_here)
    row = row_of(unfunded)
    assert row.subscription_id == kept
    # The newest first: the surplus one is over.
    states = at_stripe.all_of(str(row.customer_id))
    assert [each.status for each in states] == ["canceled", "active"]
    await_next_second()
    stripe_here.end_period(kept)
    hear(stripe_here)
    settle_all(stripe_here)
    figures = figures_of(unfunded, stripe_here)
    figures.check()
    check_books()
    money_table.add(f"M1 two checkouts, heard {name_of(hear)}", figures)


def test_m1_the_surplus_one_has_billed_before_we_heard_of_it(
    unfunded: Person, stripe_here: StripeSandbox, money_table: Table
) -> None:
    stock(stripe_here)
    kept, surplus = complete_two(unfunded, stripe_here)
    # As of a moment at which we had seen the first one alone.
    row = row_of(unfunded)
    states = at_stripe.all_of(str(row.customer_id))
    assert syncing._write(row, states[-1])
    buy(unfunded, SIZE, 30)
    report()
    stripe_here.finalize(stripe_here.end_period(surplus)["id"])
    deliver(stripe_here)
    assert stripe_here.client().v1.subscriptions.retrieve(surplus).status == "canceled"
    end_period(stripe_here, row_of(unfunded))
    assert row_of(unfunded).subscription_id == kept
    figures = figures_of(unfunded, stripe_here)
    figures.check()
    check_books()
    money_table.add("M1 the surplus one has billed first", figures)


# --- M2 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hear", "interim"),
    [*((hear, False) for hear in hearing.ALL), (hearing.by_webhook, True)],
)
def test_m2_use_after_the_subscription_has_ended_at_stripe(
    subscriber: Person,
    stripe_here: StripeSandbox,
    money_table: Table,
    monkeypatch: pytest.MonkeyPatch,
    hear: Hear,
    *,
    interim: bool,
) -> None:
    if interim:
        begin_interim(subscriber)
    buy(subscriber, SIZE, 30)
    report()
    await_next_second()
    row = row_of(subscriber)
    stripe_here.client().v1.subscriptions.cancel(str(row.subscription_id), {"invoice_now": True})
    await_next_second()
    buy(subscriber, SIZE, 40)
    report()
    hear(stripe_here)
    assert row_of(subscriber).status == "canceled"
    monkeypatch.setattr(own, "QUIET", timedelta(0))
    settle_all(stripe_here, hear)
    tasks.look_after_invoices()
    settle_all(stripe_here)
    figures = figures_of(subscriber, stripe_here)
    figures.check()
    check_books()
    what = f"M2 ended, heard {name_of(hear)}{', interim before' * interim}"
    money_table.add(what, figures)


# --- M3 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tries", "interim"), [(1, False), (3, False), (1, True)])
def test_m3_stripe_is_away_over_the_end_of_a_period(
    subscriber: Person,
    stripe_here: StripeSandbox,
    money_table: Table,
    one_try: None,
    tries: int,
    *,
    interim: bool,
) -> None:
    """The invoice is final before we can correct it; the next one bills what it lacks."""
    if interim:
        begin_interim(subscriber)
    buy(subscriber, SIZE, 25)
    report()
    buy(subscriber, SIZE, 35)
    stripe_here.fault("500_unstored", path=EVENTS, method="POST")
    batching.seal()
    for _ in range(tries):
        UsageBatch.objects.update(not_before=timezone.now())
        sending.send_due()
    await_next_second()
    first = stripe_here.end_period(str(row_of(subscriber).subscription_id))["id"]
    stripe_here.finalize(first)
    stripe_here.clear_faults()
    deliver(stripe_here)
    buy(subscriber, SIZE, 40)
    end_period(stripe_here, row_of(subscriber))
    short = InvoiceLine.objects.get(invoice__stripe_id=first)
    # What the interim invoice billed is on this one too, for nobody could take it off.
    assert (short.quantity, short.error_cents) == (60, -70 + 60 * interim)
    assert short.carried_by and not short.carried_by.error_cents
    figures = figures_of(subscriber, stripe_here)
    figures.check(unmetered=70)
    check_books()
    what = f"M3 away, failed attempts: {tries}{', interim before' * interim}"
    money_table.add(what, figures)


def test_m3_of_two_customers_one_was_refused(
    subscriber: Person, stripe_here: StripeSandbox, money_table: Table, one_try: None
) -> None:
    """The drafts are still open when Stripe answers again, but one's event was never taken."""
    both = [subscriber, make_subscriber("Tom", stripe_here)]
    for person in both:
        buy(person, SIZE, 30)
    stripe_here.fault("400", path=EVENTS, method="POST", times=1)
    report()
    await_next_second()
    for person in both:
        stripe_here.end_period(str(row_of(person).subscription_id))
    deliver(stripe_here)
    settle_all(stripe_here)
    figures = [figures_of(person, stripe_here) for person in both]
    assert sorted(each.metered for each in figures) == [0, 60]
    for each in figures:
        each.check(unmetered=each.items)
    check_books()
    money_table.add("M3 one of two refused", figures[0] + figures[1])


# --- M4 -------------------------------------------------------------------------------------------


def delete_customer(person: Person, sandbox: StripeSandbox, hear: Hear) -> None:
    sandbox.client().v1.customers.delete(str(row_of(person).customer_id))
    hear(sandbox)
    assert row_of(person).customer_id is None


@pytest.mark.parametrize("hear", hearing.OF_EVENTS, ids=name_of)
def test_m4_a_deleted_customer_comes_back(
    subscriber: Person, stripe_here: StripeSandbox, money_table: Table, hear: Hear
) -> None:
    buy(subscriber, SIZE, 30)
    report()
    delete_customer(subscriber, stripe_here, hear)
    tasks.look_after_invoices()
    assert UsageBatch.objects.unclaimed().count() == 1
    subscribe(subscriber, stripe_here)
    buy(subscriber, SIZE, 5)
    end_period(stripe_here, row_of(subscriber))
    figures = figures_of(subscriber, stripe_here)
    figures.check(unmetered=60)
    check_books()
    what = f"M4 deleted, subscribes again, heard {name_of(hear)}"
    money_table.add(what, figures)


def test_m4_a_deleted_customer_never_comes_back(
    subscriber: Person, stripe_here: StripeSandbox, money_table: Table
) -> None:
    bought = buy(subscriber, SIZE, 30)
    then = timezone.now() - writing_off.WAIT - timedelta(hours=1)
    subscriber.organization.holds.filter(pk__in=[hold.pk for hold in bought]).update(ended_at=then)
    delete_customer(subscriber, stripe_here, hearing.by_webhook)
    batching.seal()
    for _ in range(2):
        tasks.look_after_invoices()
    entry = LedgerEntry.objects.get(kind="write_off")
    assert (entry.debit, entry.credit, entry.amount_micros) == ("losses", "receivable", 600_000)
    assert UsageBatch.objects.get().write_off == entry
    facts = Notice.objects.get(kind="written_off").facts
    assert (facts["images"], facts["micros"]) == (30, 600_000)
    assert "gone at Stripe" in facts["reason"]
    figures = figures_of(subscriber, stripe_here)
    figures.check(unmetered=60)
    check_books()
    money_table.add("M4 deleted for good, written off", figures)


# --- M5 -------------------------------------------------------------------------------------------


def test_m5_the_fourth_price_change_of_a_period_is_refused_for_one(
    subscriber: Person, stripe_here: StripeSandbox, money_table: Table
) -> None:
    """With five sizes in use it is the change with which a subscription would have more than 20 items."""
    both = [subscriber, make_subscriber("Tom", stripe_here)]
    sizes = list(pricing.DEFAULT_PRICES_MICROS)
    for version in range(2, 6):
        for person in both:
            for size in sizes:
                # No part of a cent: 10 of 1.8 cents are 18.
                buy(person, size, 10 if version == 2 else 2)
        report()
        for size in sizes:
            pricing.set_price(
                model=pricing.DEFAULT_MODEL, size=size, amount_micros=version * 10_000
            )
        if version == 5:
            stripe_here.fault("400", path="^/v1/subscription_items", method="POST", times=1)
            syncing.refresh_subscriptions()
            assert Notice.objects.get(organization=None).kind == "not_done"
        syncing.refresh_subscriptions()
        for person in both:
            held = {buy(person, size, 2)[0].price.version for size in sizes}
            assert held == {version}
    for person in both:
        end_period(stripe_here, row_of(person))
    figures = [figures_of(person, stripe_here) for person in both]
    for each in figures:
        # What items of removed prices had counted is on no line of Stripe's.
        assert each.items == 81
        each.check()
    check_books()
    money_table.add("M5 four price changes, one refused", figures[0] + figures[1])


def test_m5_who_is_refused_stops_neither_proof_nor_books_of_others(
    subscriber: Person, stripe_here: StripeSandbox, money_table: Table
) -> None:
    both = [subscriber, make_subscriber("Tom", stripe_here)]
    for person in both:
        buy(person, SIZE, 30)
    report()
    stripe_here.fault("400", path="/event_summaries$", method="GET", times=1)
    assert confirming.confirm() == 1
    stripe_here.fault("400", path="/v1/invoices$", method="GET", times=1)
    [line] = comparing.compare()
    assert f"I6 organization {subscriber.organization.pk}: Stripe could not be asked" in line
    assert confirming.confirm() == 1
    for person in both:
        end_period(stripe_here, row_of(person))
    figures = [figures_of(person, stripe_here) for person in both]
    for each in figures:
        each.check()
    check_books()
    money_table.add("M5 one refused, proof and books", figures[0] + figures[1])


# --- M6 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("told", "interim"), [(0, False), (1, False), (2, False), (1, True)])
def test_m6_one_lost_event_of_a_busy_customer(
    subscriber: Person, stripe_here: StripeSandbox, money_table: Table, told: int, *, interim: bool
) -> None:
    """Stripe takes an event and throws it away; its report of that may be lost, too."""
    if interim:
        begin_interim(subscriber)
    for number in range(6):
        buy(subscriber, SIZE, 10)
        if number == 3:
            stripe_here.fault(
                "late_rejection", path=EVENTS, method="POST", times=1, code="no_meter"
            )
        report()
    invoice = stripe_here.end_period(str(row_of(subscriber).subscription_id))["id"]
    if told:
        deliver(stripe_here, times=told)
    else:
        stripe_here.undelivered()
        settling.look_for_drafts()
    settle_all(stripe_here)
    [line] = InvoiceLine.objects.filter(invoice__stripe_id=invoice)
    assert (line.quantity, line.correction_cents) == (60, 20 - 60 * interim)
    buy(subscriber, SIZE, 30)
    end_period(stripe_here, row_of(subscriber))
    figures = figures_of(subscriber, stripe_here)
    figures.check(unmetered=20)
    check_books()
    what = f"M6 one of six lost, told {told} times{', interim before' * interim}"
    money_table.add(what, figures)
