"""People who pay by card: the real verbs, against the sandbox."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.models import Organization
from billing import webhook_events
from billing.gateway import client, webhooks
from billing.invoicing import settling
from billing.ledger import holds, pricing
from billing.models import Credit, Hold, Invoice, Subscription, UsageBatch, WebhookEvent
from billing.reporting import batching, sending
from billing.subscriptions import checkout, syncing
from tests.cast import Person, make_owner
from tests.stripe_catalog import stock
from tests.stripe_sandbox import StripeSandbox

MODEL = pricing.DEFAULT_MODEL
GOOD_CARD = "4242424242424242"


@pytest.fixture
def stripe_here(sandbox: StripeSandbox, settings: Any) -> StripeSandbox:
    """The sandbox, empty, as the server that the settings name."""
    settings.STRIPE_API_BASE = sandbox.base_url
    settings.STRIPE_SECRET_KEY = sandbox.key
    settings.STRIPE_WEBHOOK_SECRET = settings.STRIPE_THIN_WEBHOOK_SECRET = sandbox.webhook_secret
    return sandbox


@pytest.fixture
def one_try(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library does not repeat a call by itself, with pauses: each failure is ours to deal with."""
    monkeypatch.setattr(client, "NETWORK_RETRIES", 0)
    client.client_for.cache_clear()
    yield
    client.client_for.cache_clear()


def subscribe(person: Person, sandbox: StripeSandbox, card: str = GOOD_CARD) -> Subscription:
    """What the person does on our page and on Stripe's, and the webhook that follows."""
    stock(sandbox)
    checkout.begin(organization=person.organization, email=person.user.email)
    row = syncing.get_or_create(person.organization)
    sandbox.complete_checkout(row.checkout_id, card=card)
    deliver(sandbox)
    row.refresh_from_db()
    return row


def make_subscriber(name: str, sandbox: StripeSandbox) -> Person:
    """The owner of an organization whose trial is used up and who has added a card."""
    person = make_owner(name, credit_micros=0)
    subscribe(person, sandbox)
    return person


@pytest.fixture
def subscriber(db: None, stripe_here: StripeSandbox) -> Person:
    """A subscriber without credit."""
    return make_subscriber("Sue", stripe_here)


def deliver(sandbox: StripeSandbox, times: int = 1) -> int:
    """Hand every event that nobody has had to our inbox, and work on it; returns how many there were."""
    found = sandbox.undelivered()
    for body, signature in found:
        for _ in range(times):
            webhook_events.receive(webhooks.verify(body, signature))
    work()
    return len(found)


def await_event(sandbox: StripeSandbox, kind: str, seconds: float = 10) -> None:
    """Until the sandbox has sent such an event, which is then worked on."""
    deadline = time.monotonic() + seconds
    while not any(event["type"] == kind for event in sandbox.events(undelivered=True)):
        assert time.monotonic() < deadline, f"no {kind} after {seconds} s"
        time.sleep(0.02)
    deliver(sandbox)


def await_next_second() -> None:
    """Billing periods are whole seconds: what lies in the same one cannot be told apart."""
    time.sleep(1 - time.time() % 1)


def work() -> None:
    """Work on the inbox until nothing waits that can be done."""
    while webhook_events.work():
        pass


def buy(
    person: Person, size: str = "512x512", images: int = 1, at: datetime | None = None
) -> list[Hold]:
    """Images delivered to that person at this moment, or at that one; only the money of them."""
    bought = []
    for _ in range(images):
        price = pricing.price_of(model=MODEL, size=size)
        with transaction.atomic():
            hold = holds.place(organization=person.organization, api_key=person.key, price=price)
        with transaction.atomic():
            assert holds.capture(hold)
        bought.append(hold)
    if at:
        Hold.objects.filter(pk__in=[hold.pk for hold in bought]).update(ended_at=at)
    return bought


def spend_credit(organization: Organization) -> None:
    """Nothing of it is left."""
    Credit.objects.filter(organization=organization).update(granted_micros=0)


def due_now() -> None:
    """Whatever waits for a later attempt may be tried at once."""
    UsageBatch.objects.update(not_before=timezone.now())
    WebhookEvent.objects.update(not_before=timezone.now())


def seal_all() -> list[UsageBatch]:
    """Everything used so far, in batches."""
    batching.seal()
    return list(UsageBatch.objects.order_by("price__size", "sealed_at"))


def at_stripe(sandbox: StripeSandbox, person: Person) -> dict[str, int]:
    """Images that Stripe counts for that person, by size."""
    customer = syncing.get_or_create(person.organization).customer_id
    totals = sandbox.usage()["totals"].get(customer, {})
    return {name.split("_")[2]: count for name, count in totals.items() if count}


def report() -> None:
    """Everything used so far is in batches, and Stripe has been told."""
    batching.seal()
    while sending.send_due():
        pass


def bill(sandbox: StripeSandbox, row: Subscription) -> str:
    """What was used is reported, the period ends and its invoice is written; returns the invoice's id."""
    report()
    invoice = sandbox.end_period(str(row.subscription_id))["id"]
    deliver(sandbox)
    sandbox.finalize(invoice)
    return str(invoice)


def settle() -> None:
    """The hour of every draft that we know has come."""
    earlier = timezone.now() - timedelta(hours=2)
    Invoice.objects.filter(done_at=None).update(
        created_at=earlier,
        finalizes_at=earlier + timedelta(hours=1),
        not_before=timezone.now(),
    )
    settling.work()


def end_period(sandbox: StripeSandbox, row: Subscription) -> str:
    """The period ends, and its draft is settled and paid; returns the invoice's id. What was used is reported before,
    unless Stripe does not take it.
    """
    report()
    invoice = sandbox.end_period(str(row.subscription_id))["id"]
    deliver(sandbox)
    settle()
    deliver(sandbox)
    return str(invoice)
