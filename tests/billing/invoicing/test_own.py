"""What no subscription's invoice bills: an invoice of its own, in one piece, or a write-off that staff are told of."""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from billing import tasks
from billing.gateway import invoices
from billing.invoicing import claiming, own, settling, writing_off
from billing.models import Invoice, LedgerEntry, Notice, Price, Subscription, UsageBatch
from billing.subscriptions import syncing
from tests.at_once import at_once
from tests.cast import Person, make_owner
from tests.payment import (
    await_next_second,
    buy,
    deliver,
    end_period,
    report,
    seal_all,
    settle,
    subscribe,
)
from tests.stripe_sandbox import StripeSandbox

HOUR_AGO = timedelta(hours=1)


def row_of(person: Person) -> Subscription:
    return Subscription.objects.get(pk=person.organization.pk)


def cancel(person: Person, sandbox: StripeSandbox, *, told: bool = True) -> None:
    """The subscription ends at Stripe, with an invoice over its use."""
    await_next_second()
    row = row_of(person)
    sandbox.client().v1.subscriptions.cancel(row.subscription_id, {"invoice_now": True})
    if told:
        deliver(sandbox)
        settle()


def grow_old(age: timedelta = HOUR_AGO) -> None:
    """All use lies so long back. Batches never change, so it is before they are sealed."""
    then = timezone.now() - age
    for person in Subscription.objects.all():
        person.organization.holds.filter(usage_batch=None).update(ended_at=then)
    seal_all()


def bill_leftovers() -> None:
    tasks.look_after_invoices()
    settling.work()


def test_use_after_the_subscription_ended_gets_one_invoice(
    subscriber: Person, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended at Stripe, and we heard of it late. Five prices make one invoice, not five."""
    monkeypatch.setattr(own, "QUIET", timedelta(0))
    cancel(subscriber, stripe_here, told=False)
    await_next_second()
    for size in ("512x512", "768x768", "1024x768", "768x1024", "1024x1024"):
        buy(subscriber, size, 10)
    report()
    bill_leftovers()
    assert not Invoice.objects.filter(kind="leftover").exists()
    deliver(stripe_here)
    UsageBatch.objects.update(done_at=timezone.now() - HOUR_AGO)
    settle()
    bill_leftovers()
    invoice = Invoice.objects.get(kind="leftover")
    deliver(stripe_here)
    invoice.refresh_from_db()
    assert (invoice.status, invoice.total_cents) == ("paid", 10 + 15 + 18 + 18 + 20)
    assert invoice.lines.count() == 5
    items = stripe_here.client().v1.invoice_items.list({"invoice": str(invoice.stripe_id)}).data
    assert "10 images × FLUX.1 Schnell, 512×512 (at $0.010 / image)" in [
        item.description for item in items
    ]
    bill_leftovers()
    assert Invoice.objects.filter(kind="leftover").count() == 1


def test_two_that_bill_leftovers_at_once_make_one_invoice(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    cancel(subscriber, stripe_here)
    Subscription.objects.update(status="active")
    buy(subscriber, "512x512", 60)
    Subscription.objects.update(status="canceled")
    grow_old()
    made = [own.make(subscriber.organization, Invoice.Kind.LEFTOVER) for _ in range(2)]
    assert [invoice is not None for invoice in made] == [True, False]
    settling.work()
    assert invoices.find(str(Invoice.objects.get(kind="leftover").stripe_id)).total_cents == 60


@pytest.mark.parametrize("kind", ["drop_before", "accept_then_drop", "accept_then_500"])
def test_an_invoice_of_its_own_survives_each_fault(
    subscriber: Person, stripe_here: StripeSandbox, one_try: None, kind: str
) -> None:
    cancel(subscriber, stripe_here, told=False)
    buy(subscriber, "512x512", 60)
    grow_old()
    deliver(stripe_here)
    settle()
    for path in ("/v1/invoices$", "/v1/invoiceitems$", "/v1/invoices/[^/]+/finalize$"):
        stripe_here.fault(kind, path=path, method="POST", times=1)
    tasks.look_after_invoices()
    for _ in range(6):
        settle()
    deliver(stripe_here)
    found = stripe_here.client().v1.invoices.list({"customer": row_of(subscriber).customer_id})
    assert [one.total for one in found.data if one.total] == [60]


def test_staff_hear_of_what_a_former_customer_has_paid_too_much(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    """It is on the balance at Stripe, and no invoice will take it from there."""
    buy(subscriber, "512x512", 60)
    cancel(subscriber, stripe_here)
    Invoice.objects.create(
        organization=subscriber.organization,
        kind="period",
        status="paid",
        stripe_id="in_twice",
        customer_id=str(row_of(subscriber).customer_id),
        finalized_at=timezone.now(),
        done_at=timezone.now(),
        total_cents=60,
    ).lines.create(price=Price.objects.get(size="512x512"), stripe_quantity=60, stripe_cents=60)
    grow_old()
    bill_leftovers()
    assert Invoice.objects.get(kind="leftover", status="paid").total_cents == -60
    facts = Notice.objects.get(kind="not_done").facts
    assert "left on the balance" in facts["what"]
    assert facts["detail"].endswith(": $0.60")


def test_an_invoice_whose_customer_is_deleted_gives_back_what_it_claimed(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    """Before Stripe had made it, or before it was corrected: else its use would wait for ever."""
    buy(subscriber, "512x512", 60)
    report()
    row = row_of(subscriber)
    assert own.make(subscriber.organization, Invoice.Kind.INTERIM)
    stripe_here.client().v1.customers.delete(str(row.customer_id))
    settle()
    deliver(stripe_here)
    assert [each.status for each in Invoice.objects.filter(kind="interim")] == ["deleted"]
    assert UsageBatch.objects.unclaimed().count() == 1
    subscribe(subscriber, stripe_here)
    await_next_second()
    invoice = end_period(stripe_here, row_of(subscriber))
    assert invoices.find(invoice).total_cents == 60


def test_too_little_to_be_charged_waits_and_is_written_off(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    cancel(subscriber, stripe_here, told=False)
    buy(subscriber, "512x512", 49)
    grow_old()
    syncing.sync(row_of(subscriber))
    bill_leftovers()
    assert not Invoice.objects.filter(kind="leftover").exists()
    assert not LedgerEntry.objects.filter(kind="write_off").exists()
    written = writing_off.write_off(subscriber.organization, reason="Too little")
    assert [entry.amount_micros for entry in written] == [490_000]


def test_what_a_last_invoice_billed_too_little_is_written_off(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    """It became final without us, and what is missing is less than Stripe charges."""
    buy(subscriber, "512x512", 60)
    report()
    buy(subscriber, "512x512", 13)
    seal_all()
    await_next_second()
    row = row_of(subscriber)
    made = stripe_here.client().v1.subscriptions.cancel(
        str(row.subscription_id), {"invoice_now": True}
    )
    stripe_here.finalize(str(made.latest_invoice))
    deliver(stripe_here)
    assert [line.error_cents for line in claiming.uncarried_lines()] == [-13]
    bill_leftovers()
    assert subscriber.organization.budgets.get(api_key=None).owed_micros == 130_000
    Invoice.objects.filter(finalized_at__isnull=False).update(
        finalized_at=timezone.now() - writing_off.WAIT - HOUR_AGO
    )
    for _ in range(2):
        bill_leftovers()
    entry = LedgerEntry.objects.get(kind="write_off")
    assert (entry.debit, entry.credit, entry.amount_micros) == ("losses", "receivable", 130_000)
    assert not claiming.uncarried_lines().exists()
    assert subscriber.organization.budgets.get(api_key=None).owed_micros == 0
    assert Notice.objects.get(kind="written_off").facts["micros"] == 130_000


def test_an_interim_invoice_is_taken_off_the_periods(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, "512x512", 60)
    report()
    assert own.make(subscriber.organization, Invoice.Kind.INTERIM)
    settle()
    buy(subscriber, "512x512", 5)
    invoice = end_period(stripe_here, row_of(subscriber))
    assert [
        one.total_cents for one in Invoice.objects.filter(total_cents__gt=0).order_by("pk")
    ] == [
        60,
        5,
    ]
    [line] = [line for line in invoices.lines_of(invoice) if line.corrects]
    assert line.cents == -60


@pytest.mark.django_db(transaction=True)
def test_claims_at_once_give_each_batch_to_one(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    for _ in range(4):
        buy(subscriber, "512x512", 30)
        seal_all()
    drafts = [
        Invoice.objects.create(
            organization=subscriber.organization,
            kind="period",
            stripe_id=f"in_{number}",
            customer_id="cus_1",
            period_start=timezone.now() - timedelta(days=30),
            period_end=timezone.now() + timedelta(seconds=1),
        )
        for number in range(4)
    ]
    at_once(*[partial(claiming.claim, draft) for draft in drafts])
    assert sorted(sum(line.quantity for line in draft.lines.all()) for draft in drafts) == [
        0,
        0,
        0,
        120,
    ]


def test_what_a_void_invoice_had_missed_is_billed_by_the_next(
    db: None, stripe_here: StripeSandbox
) -> None:
    """What it billed is written off with it; what it did not bill was never part of it."""
    tess = make_owner("Tess", credit_micros=0)
    subscribe(tess, stripe_here, card="4000000000000341")
    buy(tess, "512x512", 60)
    report()
    buy(tess, "512x512", 70)
    seal_all()
    await_next_second()
    first = stripe_here.end_period(str(row_of(tess).subscription_id))["id"]
    stripe_here.finalize(first)
    stripe_here.client().v1.invoices.void_invoice(first)
    deliver(stripe_here)
    second = end_period(stripe_here, row_of(tess))
    assert invoices.find(second).total_cents == 70
    assert tess.organization.budgets.get(api_key=None).owed_micros == 700_000
