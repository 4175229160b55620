"""Subscribing, and how our row follows what Stripe has, against the sandbox."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import tasks
from billing.gateway import subscriptions as at_stripe
from billing.gateway.errors import CallInsideTransaction
from billing.ledger import payers, pricing
from billing.models import MeteredPrice, Notice, Subscription, payment
from billing.subscriptions import catalog, checkout, freezing, syncing
from tests.cast import Person
from tests.payment import bill, buy, deliver, subscribe
from tests.stripe_sandbox import StripeSandbox

FAILS_LATER = "4000000000000341"


def kinds(person: Person) -> list[str]:
    rows = Notice.objects.filter(organization=person.organization)
    return sorted(rows.values_list("kind", flat=True))


def row_of(person: Person) -> Subscription:
    return Subscription.objects.get(pk=person.organization.pk)


def test_sync_makes_everything_once_and_says_so(db: None, stripe_here: StripeSandbox) -> None:
    pricing.set_default_prices()
    first = list(catalog.sync())
    assert sum(line.startswith("made") for line in first) == 5 + 5 + 5 + 1
    second = list(catalog.sync())
    assert {line.split()[0] for line in second} == {"known"}
    MeteredPrice.objects.all().delete()
    third = list(catalog.sync())
    assert not [line for line in third if line.startswith("made")]


def test_a_subscriber_pays_when_the_credit_is_gone(
    alice: Person, stripe_here: StripeSandbox
) -> None:
    row = subscribe(alice, stripe_here)
    assert row.status == "active"
    assert row.items.count() == 5
    assert row.period_start and row.period_end and row.period_start < row.period_end
    holds = buy(alice, "1024x1024", 26)
    assert [hold.payer for hold in holds] == ["credit"] * 25 + ["subscription"]


def test_nobody_subscribes_twice(subscriber: Person) -> None:
    with pytest.raises(checkout.AlreadySubscribed):
        checkout.begin(organization=subscriber.organization, email="subscriber@example.com")


def test_an_open_checkout_is_closed_by_the_next(alice: Person, stripe_here: StripeSandbox) -> None:
    checkout.begin(organization=alice.organization, email="alice@example.com")
    first = row_of(alice).checkout_id
    checkout.begin(organization=alice.organization, email="alice@example.com")
    with pytest.raises(AssertionError, match="expired"):
        stripe_here.complete_checkout(first)


def test_events_in_any_number_and_order_lead_to_the_present_state(
    alice: Person, stripe_here: StripeSandbox
) -> None:
    checkout.begin(organization=alice.organization, email="alice@example.com")
    stripe_here.complete_checkout(row_of(alice).checkout_id)
    row = row_of(alice)
    live = stripe_here.client().v1.subscriptions.list({"customer": row.customer_id}).data[0]
    stripe_here.client().v1.subscriptions.cancel(live.id, {"invoice_now": True})
    deliver(stripe_here, times=5)
    assert row_of(alice).status == "canceled"
    assert row_of(alice).items.count() == 5


def test_a_look_that_began_earlier_is_thrown_away(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    before = row_of(subscriber)
    old = at_stripe.find(str(before.subscription_id))
    stripe_here.client().v1.subscriptions.update(
        before.subscription_id, {"cancel_at_period_end": True}
    )
    syncing.sync(before)
    assert row_of(subscriber).ends_at
    assert not syncing._write(before, old)
    assert row_of(subscriber).ends_at


def test_a_failed_payment_leaves_some_days_and_a_lower_limit(
    alice: Person, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payment, "GRACE_ALLOWANCE_MICROS", 200_000)
    row = subscribe(alice, stripe_here, card=FAILS_LATER)
    buy(alice, "1024x1024", 60)
    invoice = bill(stripe_here, row)
    deliver(stripe_here)
    row = row_of(alice)
    assert row.status == "past_due"
    assert row.serves
    assert kinds(alice) == ["payment_failed"]
    buy(alice, "1024x1024", 10)
    with pytest.raises(payers.GraceLimitReached, match=r"\$1\.40 this month"):
        buy(alice, "512x512")
    Subscription.objects.update(past_due_since=timezone.now() - timedelta(days=7, minutes=1))
    with pytest.raises(payers.PaymentOverdue):
        buy(alice, "512x512")
    mend_card(stripe_here, row)
    stripe_here.retry_payment(invoice)
    deliver(stripe_here)
    assert row_of(alice).status == "active"
    assert row_of(alice).past_due_since is None
    assert kinds(alice) == ["payment_failed", "payment_recovered"]
    buy(alice)


def mend_card(sandbox: StripeSandbox, row: Subscription) -> None:
    client = sandbox.client()
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": row.customer_id})
    client.v1.subscriptions.update(row.subscription_id, {"default_payment_method": card.id})


def test_what_stripe_gave_up_on_is_refused(alice: Person, stripe_here: StripeSandbox) -> None:
    row = subscribe(alice, stripe_here, card=FAILS_LATER)
    buy(alice, "1024x1024", 60)
    bill(stripe_here, row)
    deliver(stripe_here)
    stripe_here.give_up(row.subscription_id)
    deliver(stripe_here)
    assert row_of(alice).status == "unpaid"
    with pytest.raises(payers.PaymentOverdue):
        buy(alice)


def test_a_dispute_freezes_new_work_until_it_is_won(
    alice: Person, stripe_here: StripeSandbox
) -> None:
    row = subscribe(alice, stripe_here)
    buy(alice, "1024x1024", 60)
    bill(stripe_here, row)
    charge = stripe_here.client().v1.charges.list({"customer": row.customer_id}).data[0].id
    dispute = stripe_here.dispute(charge)["id"]
    stripe_here.fraud_warning(charge)
    deliver(stripe_here)
    with pytest.raises(payers.AccountFrozen):
        buy(alice)
    stripe_here.close_dispute(dispute, "won")
    deliver(stripe_here)
    with pytest.raises(payers.AccountFrozen):
        buy(alice)
    assert freezing.unfreeze(row_of(alice))
    buy(alice)


def test_a_deleted_customer_can_begin_again(subscriber: Person, stripe_here: StripeSandbox) -> None:
    old = row_of(subscriber)
    stripe_here.client().v1.customers.delete(old.customer_id)
    deliver(stripe_here)
    assert row_of(subscriber).status == "none"
    with pytest.raises(payers.NoSubscription):
        buy(subscriber)
    assert kinds(subscriber) == ["subscription_ended"]
    new = subscribe(subscriber, stripe_here)
    assert new.status == "active"
    assert new.customer_id != old.customer_id
    buy(subscriber)


def test_the_catalog_is_there_before_the_first_customer_and_after_a_fault(
    db: None, stripe_here: StripeSandbox, one_try: None
) -> None:
    pricing.set_default_prices()
    stripe_here.fault("500", path="^/v1/products$", method="POST", times=1)
    tasks.keep()
    assert not catalog.is_complete()
    tasks.keep()
    assert catalog.is_complete()


@pytest.mark.django_db(transaction=True)
def test_no_call_to_stripe_is_made_inside_a_transaction(stripe_here: StripeSandbox) -> None:
    from django.db import transaction

    with transaction.atomic(), pytest.raises(CallInsideTransaction):
        at_stripe.find("sub_1")
    assert stripe_here.requests()["requests"] == {}
