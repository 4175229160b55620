"""The same steps against our sandbox and, with `STRIPE_TEST_SECRET_KEY` set, against a Stripe test account.

What passes at one and fails at the other is a rule that the sandbox has wrong. It makes customers, meters and
prices in that account, and leaves them there.
"""

import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings

from billing.gateway import checkout as hosted_checkout
from billing.gateway import customers, invoices, usage
from billing.gateway.client import calling
from billing.gateway.errors import StripeKeyRefused
from billing.gateway.usage import ReportOutcome
from billing.models import MeteredPrice, Subscription, UsageBatch
from billing.reporting import confirming, sending
from billing.subscriptions import catalog, checkout, items, syncing
from tests.cast import Person
from tests.payment import buy, seal_all

KEY = "STRIPE_TEST_SECRET_KEY"
# Stripe adds usage up with a lag.
PATIENCE_SECONDS = 300


@pytest.fixture(params=["sandbox", "stripe"])
def server(request: pytest.FixtureRequest, settings: Any) -> str:
    """The settings name one of the two."""
    if request.param == "sandbox":
        request.getfixturevalue("stripe_here")
        return "sandbox"
    key = os.environ.get(KEY, "")
    if not key:
        pytest.skip(f"{KEY} is not set: set it to a test key to run this against Stripe itself")
    assert key.startswith(("sk_test_", "rk_test_")), f"{KEY} must be a test key"
    settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE = key, ""
    return "stripe"


@pytest.fixture
def subscribed(server: str, unfunded: Person) -> Subscription:
    """A customer with a card and all prices, as our own row sees it."""
    catalog.complete()
    row = syncing.get_or_create(unfunded.organization)
    customer = customers.create(reference=str(row.reference))
    customers.describe(customer, name="EcoHash test", email="test@example.com")
    Subscription.objects.filter(pk=row.pk).update(customer_id=customer)
    with calling() as client:
        card = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
        client.v1.subscriptions.create(
            {
                "customer": customer,
                "items": [
                    {"price": metered.stripe_price_id} for metered in items.prices_on_offer()
                ],
                "default_payment_method": card.id,
                "metadata": {"organization": str(row.reference)},
            }
        )
    return syncing.sync(row)


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "not within five minutes"
        time.sleep(0.05 if settings.STRIPE_API_BASE else 5)


def test_the_catalog_is_made_once(server: str, unfunded: Person) -> None:
    list(catalog.sync())
    ids = set(MeteredPrice.objects.values_list("stripe_price_id", "meter_id"))
    MeteredPrice.objects.all().delete()
    lines = list(catalog.sync())
    assert not [line for line in lines if line.startswith("made")]
    assert set(MeteredPrice.objects.values_list("stripe_price_id", "meter_id")) == ids


def test_a_subscription_is_read_with_its_items_and_period(subscribed: Subscription) -> None:
    assert subscribed.status == "active"
    assert subscribed.items.count() == 5
    assert subscribed.period_start and subscribed.period_end
    assert timedelta(days=27) < subscribed.period_end - subscribed.period_start < timedelta(days=32)


def test_use_is_counted_and_billed_once(subscribed: Subscription, unfunded: Person) -> None:
    buy(unfunded, "1024x1024", 30)
    [batch] = seal_all()
    assert sending.send_due() == 1
    batch.refresh_from_db()
    again: dict[str, Any] = {
        "event_name": batch.price.metered.event_name,
        "customer_id": batch.customer_id,
        "quantity": batch.quantity,
        "identifier": batch.identifier,
        "timestamp": batch.timestamp,
    }
    assert (
        usage.send(**again, idempotency_key=batch.idempotency_key).outcome == ReportOutcome.ACCEPTED
    )
    assert usage.send(**again, idempotency_key=str(uuid.uuid4())).outcome == ReportOutcome.DUPLICATE
    eventually(lambda: bool(confirming.confirm()))
    assert UsageBatch.objects.get().state == "confirmed"
    with calling() as client:
        client.v1.subscriptions.cancel(
            str(subscribed.subscription_id), {"invoice_now": True, "prorate": False}
        )
    eventually(lambda: billed(batch) == 30)
    assert syncing.sync(subscribed).status == "canceled"


def billed(batch: UsageBatch) -> int:
    found, _ = invoices.page_of(batch.customer_id)
    lines = [line for invoice in found for line in invoices.lines_of(invoice.id)]
    of_batch = batch.price.metered.stripe_price_id
    return sum(line.quantity for line in lines if line.price_id == of_batch)


@pytest.mark.parametrize("days", [-36, 1])
def test_what_is_too_old_or_to_come_is_refused(subscribed: Subscription, days: int) -> None:
    answer = usage.send(
        event_name=MeteredPrice.objects.all()[0].event_name,
        customer_id=str(subscribed.customer_id),
        quantity=1,
        identifier=str(uuid.uuid4()),
        timestamp=datetime.now(UTC) + timedelta(days=days),
        idempotency_key=str(uuid.uuid4()),
    )
    assert answer.outcome == ReportOutcome.REFUSED


def test_a_checkout_and_the_portal_open(server: str, unfunded: Person) -> None:
    address = checkout.begin(organization=unfunded.organization, email="test@example.com")
    assert address.startswith(("https://checkout.stripe.com/", "http://127.0.0.1:"))
    row = Subscription.objects.get()
    assert hosted_checkout.find(row.checkout_id).status == "open"
    assert checkout.open_portal(unfunded.organization).startswith(
        ("https://billing.stripe.com", "http://")
    )
    hosted_checkout.expire(row.checkout_id)
    assert hosted_checkout.find(row.checkout_id).status == "expired"


def test_a_credit_is_given_once(subscribed: Subscription) -> None:
    reference = str(uuid.uuid4())
    given = {
        customers.give_credit(
            customer_id=str(subscribed.customer_id),
            cents=6,
            description="A test",
            reference=reference,
        )
        for _ in range(3)
    }
    assert len(given) == 1
    with calling() as client:
        assert client.v1.customers.retrieve(str(subscribed.customer_id)).balance == -6


def test_a_wrong_key_is_told_apart_and_not_repeated(server: str, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_nobodys"
    with pytest.raises(StripeKeyRefused) as refused:
        hosted_checkout.find("cs_1")
    assert "nobodys" not in str(refused.value)
