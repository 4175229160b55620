"""The inbox: an event counts once, is tried again until it could be worked on, and holds nobody up."""

from typing import Any

import pytest
from django.utils import timezone

from billing import webhook_events
from billing.gateway.webhooks import Event
from billing.isolation import AWAY_IN_A_ROW
from billing.models import Notice, Subscription, WebhookEvent
from tests.cast import Person
from tests.payment import deliver, due_now, work
from tests.stripe_sandbox import StripeSandbox


def event(kind: str, thing: str, name: str = "evt_1") -> WebhookEvent:
    webhook_events.receive(Event(name, kind, thing, timezone.now()))
    return WebhookEvent.objects.get(event_id=name)


def now(row: WebhookEvent) -> WebhookEvent:
    return WebhookEvent.objects.get(pk=row.pk)


def test_an_event_is_kept_once(db: None) -> None:
    told = Event("evt_1", "invoice.paid", "in_1", timezone.now())
    assert [webhook_events.receive(told) for _ in range(5)] == [True, False, False, False, False]
    assert WebhookEvent.objects.count() == 1


def test_five_deliveries_in_any_order_have_one_effect(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    row = Subscription.objects.get()
    stripe_here.client().v1.subscriptions.cancel(row.subscription_id, {"invoice_now": True})
    stripe_here.delivery(twice=True, shuffle=True)
    deliver(stripe_here, times=5)
    assert Subscription.objects.get().status == "canceled"
    assert Notice.objects.filter(kind="subscription_ended").count() == 1
    version = Subscription.objects.get().version
    for known in WebhookEvent.objects.all():
        assert not webhook_events.process(known)
    assert Subscription.objects.get().version == version


def test_what_is_not_ours_is_kept_and_left(db: None, stripe_here: StripeSandbox) -> None:
    kept = event("plan.created", "plan_1")
    gone = event("invoice.paid", "in_of_nobody", "evt_2")
    work()
    assert now(kept).note == "not for us"
    assert now(gone).note == "gone at Stripe"


@pytest.mark.parametrize(
    "kind",
    [
        "v1.billing.meter.created",
        "invoice.upcoming",
        "invoice_payment.paid",
        "invoiceitem.created",
        "checkout.session.expired",
        "customer.subscription.of_a_kind_to_come",
    ],
)
def test_a_type_that_nobody_handles_is_not_for_us(
    db: None, stripe_here: StripeSandbox, kind: str
) -> None:
    kept = event(kind, "")
    work()
    assert now(kept).note == "not for us"
    assert stripe_here.requests()["requests"] == {}


def test_while_nobody_is_answered_only_a_few_are_tried(
    subscriber: Person, stripe_here: StripeSandbox, settings: Any, one_try: None
) -> None:
    for number in range(10):
        event("customer.subscription.updated", f"sub_{number}", f"evt_{number}")
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    assert webhook_events.work() == 0
    assert WebhookEvent.objects.filter(done_at=None, tries__gt=0).count() == AWAY_IN_A_ROW


def test_another_accounts_customer_changes_nothing(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    client = stripe_here.client()
    other = client.v1.customers.create({"name": "Somebody"})
    made = client.v1.invoices.create({"customer": other.id})
    before = Subscription.objects.get().version
    kept = event("invoice.created", made.id)
    work()
    assert now(kept).note == "no customer of ours"
    assert Subscription.objects.get().version == before


def test_while_stripe_is_away_it_waits_longer_each_time_and_staff_hear_of_it(
    subscriber: Person, stripe_here: StripeSandbox, settings: Any, one_try: None
) -> None:
    kept = event("customer.subscription.updated", Subscription.objects.get().subscription_id)
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    for _ in range(webhook_events.ALARM_AFTER_TRIES):
        due_now()
        assert webhook_events.work() == 0
    assert now(kept).not_before > timezone.now()
    assert now(kept).done_at is None
    assert [notice.kind for notice in Notice.objects.filter(organization=None)] == ["webhook_stuck"]
    settings.STRIPE_API_BASE = stripe_here.base_url
    due_now()
    assert webhook_events.work() == 1


def test_an_event_that_breaks_its_handler_holds_nobody_up(
    db: None, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(_event: WebhookEvent) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(
        webhook_events, "HANDLERS", {**webhook_events.HANDLERS, "invoice.paid": stumble}
    )
    bad = event("invoice.paid", "in_1")
    good = event("plan.created", "plan_1", "evt_2")
    assert webhook_events.work() == 1
    assert now(bad).note == "ZeroDivisionError"
    assert now(good).done_at


def test_one_worker_at_a_time_has_an_event(db: None, stripe_here: StripeSandbox) -> None:
    kept = event("plan.created", "plan_1")
    WebhookEvent.objects.update(claimed_until=timezone.now() + WebhookEvent.LEASE)
    assert not webhook_events.process(kept)
    WebhookEvent.objects.update(claimed_until=timezone.now())
    assert webhook_events.process(kept)
