"""Webhooks that do not arrive: what they would have told is found at Stripe, and staff hear of it."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from billing import missed_events, tasks, webhook_events
from billing.gateway import webhooks
from billing.models import Notice, StripeObject, Subscription, WebhookEvent
from billing.subscriptions import checkout, syncing
from tests.cast import Person
from tests.pages.paying import send_event
from tests.payment import deliver, work
from tests.stripe_sandbox import StripeSandbox


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits ten minutes for a webhook; what happened before this test is long ago."""
    monkeypatch.setattr(missed_events, "SETTLED", -timedelta(seconds=2))
    monkeypatch.setattr(missed_events, "_next_note", 0.0)


def told() -> dict[str, Any]:
    facts: dict[str, Any] = Notice.objects.get(kind="webhooks_missing").facts
    return facts


def test_a_subscription_that_no_webhook_told_of_serves_within_minutes(
    unfunded: Person, stripe_here: StripeSandbox
) -> None:
    checkout.begin(organization=unfunded.organization, email="a@example.com")
    row = syncing.get_or_create(unfunded.organization)
    stripe_here.complete_checkout(row.checkout_id)
    assert missed_events.look() >= 3
    work()
    row.refresh_from_db()
    assert row.status == "active"
    stripe_here.client().v1.subscriptions.cancel(str(row.subscription_id))
    tasks.look_for_events()
    work()
    row.refresh_from_db()
    assert row.status == "canceled"


def test_what_came_as_a_webhook_is_not_worked_on_again(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    before = WebhookEvent.objects.count()
    assert missed_events.look() == 0
    assert WebhookEvent.objects.count() == before
    assert not Notice.objects.exists()


def test_types_that_nobody_handles_are_not_fetched(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    stripe_here.client().v1.customers.create({})
    assert missed_events.look() == 0


def test_a_young_event_may_still_come(
    subscriber: Person, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed_events, "SETTLED", timedelta(minutes=10))
    stripe_here.client().v1.subscriptions.cancel(str(Subscription.objects.get().subscription_id))
    assert missed_events.look() == 0
    monkeypatch.setattr(missed_events, "SETTLED", -timedelta(seconds=2))
    assert missed_events.look() > 0


def test_a_look_goes_on_where_the_last_one_ended(
    subscriber: Person, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed_events.look()
    [row] = StripeObject.objects.filter(name=missed_events.LOOKED_UNTIL)
    asked: list[timedelta] = []
    listed = webhooks.listed

    def note(**how: Any) -> Any:
        asked.append(how["end"] - how["start"])
        return listed(**how)

    monkeypatch.setattr(webhooks, "listed", note)
    missed_events.look()
    assert sum(asked, timedelta()) < timedelta(minutes=11)
    # Three days without a worker are made up for, a part at a time.
    asked.clear()
    ago = timezone.now() - timedelta(days=3)
    StripeObject.objects.filter(pk=row.pk).update(stripe_id=ago.replace(microsecond=0).isoformat())
    missed_events.look(seconds=-1)
    assert asked == []
    missed_events.look()
    assert len(asked) == 13 and max(asked) == missed_events.SLICE


def test_an_installation_without_customers_has_missed_nothing(
    db: None, stripe_here: StripeSandbox
) -> None:
    stripe_here.client().v1.customers.create({})
    assert missed_events.look() == 0
    assert not stripe_here.requests()["requests"].get("GET /v1/events")
    assert StripeObject.objects.get().name == missed_events.LOOKED_UNTIL


def test_staff_hear_once_a_day_how_many_did_not_arrive(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    # `SETTLED` is below zero here: these came in time.
    WebhookEvent.objects.update(created_at=timezone.now() + timedelta(minutes=1))
    arrived = WebhookEvent.objects.count()
    subscription = str(Subscription.objects.get().subscription_id)
    stripe_here.client().v1.subscriptions.update(subscription, {"cancel_at_period_end": True})
    stripe_here.client().v1.subscriptions.update(subscription, {"cancel_at_period_end": False})
    assert [missed_events.look() for _ in range(2)] == [2, 0]
    facts = told()
    assert (facts["count"], facts["arrived"]) == (2, arrived)
    assert facts["lines"] == ["customer.subscription.updated: 2"]
    assert not facts["is_secret_wrong"]


def test_a_wrong_secret_is_named(
    subscriber: Person, stripe_here: StripeSandbox, client: Client, settings: Any
) -> None:
    subscription = str(Subscription.objects.get().subscription_id)
    stripe_here.client().v1.subscriptions.update(subscription, {"cancel_at_period_end": True})
    stripe_here.client().v1.subscriptions.cancel(subscription)
    settings.STRIPE_WEBHOOK_SECRET = settings.STRIPE_THIN_WEBHOOK_SECRET = "whsec_of_another"
    for body, signature in stripe_here.undelivered():
        missed_events._next_note = 0.0
        assert send_event(client, body, signature).status_code == 400
    missed_events.look()
    assert told()["is_secret_wrong"]
    work()
    assert Subscription.objects.get().status == "canceled"


def test_requests_without_a_signature_say_nothing_of_the_secret(
    subscriber: Person, stripe_here: StripeSandbox, client: Client
) -> None:
    for _ in range(3):
        missed_events._next_note = 0.0
        send_event(client, json.dumps({"object": "event"}).encode(), "")
    assert not StripeObject.objects.filter(name=missed_events.REFUSED).exists()


def test_a_key_that_may_not_read_events_disturbs_nothing_else(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    stripe_here.fault("403", path="^/v1/events$")
    tasks.look_for_events()
    deliver(stripe_here)
    assert webhook_events.work() == 0
