"""A draft is held, compared with the ledger, corrected, and only then made final."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.gateway import invoices
from billing.invoicing import claiming, settling
from billing.models import Invoice, InvoiceLine, Subscription, UsageBatch
from billing.reporting import batching, sending
from tests.cast import Person
from tests.payment import (
    await_next_second,
    buy,
    deliver,
    due_now,
    end_period,
    report,
    seal_all,
    settle,
)
from tests.stripe_sandbox import StripeSandbox

EVENTS = "/v1/billing/meter_events$"


def row_of(person: Person) -> Subscription:
    return Subscription.objects.get(pk=person.organization.pk)


def billed(invoice: str) -> int:
    return invoices.find(invoice).total_cents


def test_a_draft_that_agrees_becomes_final_and_paid_as_it_is(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, "512x512", 60)
    buy(subscriber, "1024x768", 3)
    invoice = end_period(stripe_here, row_of(subscriber))
    row = Invoice.objects.get(stripe_id=invoice)
    assert (row.status, row.total_cents, row.kind) == ("paid", 65, "period")
    found = {line.price.size: (line.quantity, line.correction_cents) for line in row.lines.all()}
    # 3 × 1.8 cents is rounded on the line.
    assert found == {"512x512": (60, 0), "1024x768": (3, 0)}
    assert not UsageBatch.objects.unclaimed().exists()
    assert billed(invoice) == 65


def test_a_draft_is_held_until_it_agrees(subscriber: Person, stripe_here: StripeSandbox) -> None:
    buy(subscriber, "512x512", 60)
    report()
    invoice = stripe_here.end_period(str(row_of(subscriber).subscription_id))["id"]
    deliver(stripe_here)
    row = Invoice.objects.get(stripe_id=invoice)
    assert row.held
    assert invoices.find(invoice).finalizes_at is None
    assert timedelta(minutes=49) < row.not_before - row.created_at < timedelta(minutes=51)
    assert settling.work() == 0
    settle()
    assert invoices.find(invoice).status == "paid"


@pytest.mark.parametrize("lost", ["all", "one of three"])
def test_what_the_meter_has_lost_is_added(
    subscriber: Person, stripe_here: StripeSandbox, lost: str
) -> None:
    for part in range(3):
        buy(subscriber, "512x512", 30)
        if lost == "all" or part == 1:
            stripe_here.fault(
                "late_rejection", path=EVENTS, method="POST", times=1, code="no_meter"
            )
        report()
    UsageBatch.objects.update(done_at=timezone.now() - timedelta(hours=1))
    invoice = end_period(stripe_here, row_of(subscriber))
    line = InvoiceLine.objects.get()
    assert (line.quantity, line.stripe_cents + line.correction_cents) == (90, 90)
    assert line.correction_cents == (90 if lost == "all" else 30)
    assert billed(invoice) == 90


def test_what_the_meter_counts_too_much_is_taken_off(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, "512x512", 60)
    report()
    batch = UsageBatch.objects.get()
    stripe_here.client().v1.billing.meter_events.create(
        {
            "event_name": batch.price.metered.event_name,
            "payload": {"stripe_customer_id": batch.customer_id, "value": "60"},
            "identifier": "another installation's",
            "timestamp": int(batch.last_captured_at.timestamp()),
        }
    )
    invoice = end_period(stripe_here, row_of(subscriber))
    assert InvoiceLine.objects.get().correction_cents == -60
    assert billed(invoice) == 60


def test_use_that_stripe_never_took_is_billed_and_not_sent_later(
    subscriber: Person, stripe_here: StripeSandbox, one_try: None
) -> None:
    buy(subscriber, "512x512", 60)
    stripe_here.fault("500_unstored", path=EVENTS, method="POST")
    batching.seal()
    sending.send_due()
    await_next_second()
    invoice = stripe_here.end_period(str(row_of(subscriber).subscription_id))["id"]
    deliver(stripe_here)
    settle()
    assert billed(invoice) == 60
    stripe_here.clear_faults()
    due_now()
    assert sending.send_due() == 0
    assert UsageBatch.objects.get().state == "unmetered"


def test_a_batch_that_is_being_sent_is_waited_for(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, "512x512", 60)
    [batch] = seal_all()
    assert sending._claim(batch, str(row_of(subscriber).customer_id))
    await_next_second()
    invoice = stripe_here.end_period(str(row_of(subscriber).subscription_id))["id"]
    deliver(stripe_here)
    settle()
    assert invoices.find(invoice).status == "draft"
    assert UsageBatch.objects.unclaimed().count() == 1
    UsageBatch.objects.update(claimed_until=timezone.now())
    sending.send_due()
    UsageBatch.objects.update(done_at=timezone.now() - timedelta(hours=1))
    settle()
    assert billed(invoice) == 60


def test_a_meter_that_lags_is_waited_for(subscriber: Person, stripe_here: StripeSandbox) -> None:
    """Else its images would be added by an item, and then counted too."""
    buy(subscriber, "512x512", 60)
    stripe_here.fault("late_rejection", path=EVENTS, method="POST", times=1, code="no_meter")
    report()
    invoice = stripe_here.end_period(str(row_of(subscriber).subscription_id))["id"]
    deliver(stripe_here)
    # As long as Stripe has not told of it, nobody knows whether the meter is only late.
    UsageBatch.objects.update(state="accepted")
    earlier = timezone.now() - timedelta(minutes=51)
    Invoice.objects.update(
        created_at=earlier, finalizes_at=earlier + timedelta(hours=1), not_before=timezone.now()
    )
    settling.work()
    assert invoices.find(invoice).status == "draft"
    UsageBatch.objects.update(done_at=timezone.now() - timedelta(minutes=16))
    settle()
    assert billed(invoice) == 60


def test_a_draft_that_no_webhook_told_of_is_found(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, "512x512", 60)
    report()
    invoice = stripe_here.end_period(str(row_of(subscriber).subscription_id))["id"]
    assert settling.look_for_drafts() == 1
    assert Invoice.objects.get(stripe_id=invoice).held
    assert settling.look_for_drafts() == 0


def test_a_draft_that_was_deleted_gives_back_what_it_claimed(
    subscriber: Person, stripe_here: StripeSandbox, monkeypatch: Any
) -> None:
    buy(subscriber, "512x512", 60)
    report()
    row = Invoice.objects.create(
        organization=subscriber.organization,
        kind="period",
        stripe_id="in_gone",
        customer_id=str(row_of(subscriber).customer_id),
        period_start=timezone.now() - timedelta(days=1),
        period_end=timezone.now() + timedelta(seconds=1),
    )
    claiming.claim(row)
    assert not UsageBatch.objects.unclaimed().exists()
    settle()
    row.refresh_from_db()
    assert row.status == "deleted"
    assert UsageBatch.objects.unclaimed().count() == 1


def test_each_step_may_be_the_last_of_its_process(
    subscriber: Person, stripe_here: StripeSandbox, one_try: None
) -> None:
    """Every write of a settlement fails once, before and after it was done: the invoice comes out right."""
    buy(subscriber, "512x512", 60)
    buy(subscriber, "768x768", 10)
    batching.seal()
    await_next_second()
    invoice = stripe_here.end_period(str(row_of(subscriber).subscription_id))["id"]
    for kind in ("drop_before", "accept_then_drop", "accept_then_500"):
        for path in (
            f"/v1/invoices/{invoice}$",
            "/v1/invoiceitems$",
            f"/v1/invoices/{invoice}/finalize$",
        ):
            stripe_here.fault(kind, path=path, method="POST", times=1)
    deliver(stripe_here)
    for _ in range(12):
        due_now()
        deliver(stripe_here)
        settle()
    assert billed(invoice) == 75
    assert Invoice.objects.get(stripe_id=invoice).status == "paid"
    assert all(not line.error_cents for line in InvoiceLine.objects.all())


def test_more_batches_than_one_statement_takes_are_all_claimed(
    subscriber: Person, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "AT_ONCE", 2)
    for _ in range(5):
        buy(subscriber, "512x512", 12)
        seal_all()
    invoice = end_period(stripe_here, row_of(subscriber))
    assert billed(invoice) == 60
    assert not UsageBatch.objects.unclaimed().exists()
