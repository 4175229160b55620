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
from billing.gateway import customers, invoices, payments, usage, webhooks
from billing.gateway import subscriptions as at_stripe
from billing.gateway.client import calling
from billing.gateway.errors import StripeKeyRefused, StripeRefused
from billing.gateway.invoices import Correction
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
    # The sender has written it.
    batch.refresh_from_db()
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


# --- what settling an invoice stands on -----------------------------------------------------------


def own_invoice(row: Subscription) -> str:
    """A draft of ours, which no one finalizes but us."""
    customer, reference = str(row.customer_id), str(uuid.uuid4())
    made = {
        invoices.create(
            customer_id=customer, reference=reference, subscription_id=str(row.subscription_id)
        ).id
        for _ in range(2)
    }
    assert len(made) == 1
    return made.pop()


def items_of(*cents: int) -> list[Correction]:
    names = MeteredPrice.objects.order_by("pk").values_list("event_name", flat=True)
    return [
        Correction(name, amount, f"{amount} cents")
        for name, amount in zip(names, cents, strict=False)
    ]


def pending_items(row: Subscription) -> list[int]:
    """What waits for the customer's next invoice, in cents."""
    with calling() as client:
        page = client.v1.invoice_items.list({"customer": str(row.customer_id), "pending": True})
    return [item.amount for item in page.data]


def paid_invoice(row: Subscription, cents: int) -> str:
    """An own invoice over so much that the subscription's card has paid."""
    invoice = own_invoice(row)
    invoices.correct(invoice, str(row.customer_id), items_of(cents))
    invoices.finalize(invoice)
    eventually(lambda: invoices.find(invoice).status == "paid")
    return invoice


def test_a_draft_is_held_until_it_is_made_final(subscribed: Subscription) -> None:
    """https://docs.stripe.com/invoicing/integration/automatic-advancement-collection"""
    with calling() as client:
        invoice = client.v1.invoices.create(
            {"customer": str(subscribed.customer_id), "currency": "usd", "auto_advance": True}
        )
    found = invoices.find(invoice.id)
    assert found.status == "draft"
    assert found.finalizes_at
    # An hour, or up to three days where the account says so.
    assert found.created < found.finalizes_at <= found.created + timedelta(days=3, minutes=1)
    assert invoices.hold(invoice.id).finalizes_at is None
    assert invoice.id in {each.id for each in invoices.drafts()}
    assert invoices.finalize(invoice.id).status in {"open", "paid"}
    with pytest.raises(StripeRefused):
        invoices.finalize(invoice.id)


def test_items_above_and_below_zero_correct_a_draft(subscribed: Subscription) -> None:
    """https://docs.stripe.com/api/invoiceitems/create: an amount below zero is a credit on the invoice."""
    invoice, customer = own_invoice(subscribed), str(subscribed.customer_id)
    for cents in [(100, 40, 7), (100, -30, 0), (100, -30, 0)]:
        invoices.correct(invoice, customer, items_of(*cents))
        lines = {line.corrects: line.cents for line in invoices.lines_of(invoice)}
        assert lines == {item.name: item.cents for item in items_of(*cents) if item.cents}
        assert invoices.find(invoice).total_cents == sum(cents)
    final = invoices.finalize(invoice)
    assert final.finalized_at and final.number
    eventually(lambda: invoices.find(invoice).status == "paid")
    with pytest.raises(StripeRefused):
        invoices.correct(invoice, customer, items_of(100, -20))


def test_an_own_invoice_is_paid_by_the_subscriptions_card_and_its_fee_is_told(
    subscribed: Subscription,
) -> None:
    """https://docs.stripe.com/api/invoice-payment/list, and the balance transaction of the charge."""
    invoice = paid_invoice(subscribed, 70)
    eventually(lambda: all(each.fee_micros is not None for each in payments.of_invoice(invoice)))
    [charge] = payments.of_invoice(invoice)
    assert (charge.cents, charge.refunded_cents) == (70, 0)
    assert charge.customer_id == subscribed.customer_id
    assert charge.fee_micros


def test_money_goes_back_to_the_card_once(subscribed: Subscription) -> None:
    """https://docs.stripe.com/api/refunds/create: not more than is left of the charge."""
    [charge] = payments.of_invoice(paid_invoice(subscribed, 70))
    reference = str(uuid.uuid4())
    sent = {
        payments.send_back(charge_id=charge.id, cents=20, reference=reference).id for _ in range(3)
    }
    assert len(sent) == 1
    assert [(each.cents, each.reference) for each in payments.refunds_of(charge.id)] == [
        (20, reference)
    ]
    assert payments.find(charge.id).left_cents == 50
    with pytest.raises(StripeRefused):
        payments.send_back(charge_id=charge.id, cents=51, reference=str(uuid.uuid4()))


def last_draft(row: Subscription) -> str:
    """The subscription ends with an invoice over its use, which is held."""
    with calling() as client:
        client.v1.subscriptions.cancel(
            str(row.subscription_id), {"invoice_now": True, "prorate": False}
        )
    [last] = [each for each in invoices.all_of(str(row.customer_id)) if each.status == "draft"]
    invoices.hold(last.id)
    return last.id


def test_the_last_invoice_of_a_subscription_is_corrected_before_it_is_final(
    subscribed: Subscription, unfunded: Person
) -> None:
    buy(unfunded, "1024x1024", 50)
    [batch] = seal_all()
    sending.send_due()
    eventually(lambda: bool(confirming.confirm()))
    last = last_draft(subscribed)
    eventually(lambda: billed(batch) == 50)
    invoices.correct(last, str(subscribed.customer_id), items_of(-30))
    assert invoices.finalize(last).total_cents == 70
    assert sum(line.cents for line in invoices.lines_of(last)) == 70


def test_a_held_draft_shows_what_its_meter_takes_later(
    subscribed: Subscription, unfunded: Person
) -> None:
    """Stripe documents it of the moment at which the invoice becomes final; we compare before:
    https://docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period
    """
    buy(unfunded, "1024x1024", 50)
    [batch] = seal_all()
    sending.send_due()
    eventually(lambda: bool(confirming.confirm()))
    last = last_draft(subscribed)
    batch.refresh_from_db()
    assert batch.timestamp
    usage.send(
        event_name=batch.price.metered.event_name,
        customer_id=batch.customer_id,
        quantity=10,
        identifier=str(uuid.uuid4()),
        timestamp=batch.timestamp,
        idempotency_key=str(uuid.uuid4()),
    )
    eventually(lambda: billed(batch) == 60)
    assert invoices.find(last).status == "draft"


def test_a_surplus_subscription_ends_without_an_invoice(
    subscribed: Subscription, unfunded: Person
) -> None:
    """https://docs.stripe.com/api/subscriptions/cancel: `invoice_now` false, `prorate` false."""
    customer = str(subscribed.customer_id)
    with calling() as client:
        card = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
        surplus = client.v1.subscriptions.create(
            {
                "customer": customer,
                "items": [{"price": each.stripe_price_id} for each in items.prices_on_offer()],
                "default_payment_method": card.id,
            }
        )
    buy(unfunded, "1024x1024", 30)
    seal_all()
    sending.send_due()
    eventually(lambda: bool(confirming.confirm()))
    for _ in range(2):
        at_stripe.end_without_invoice(surplus.id)
    assert at_stripe.find(surplus.id).status == "canceled"
    found = [each for each in invoices.all_of(customer) if each.subscription_id == surplus.id]
    assert {each.total_cents for each in found} <= {0}
    assert pending_items(subscribed) == []
    assert syncing.sync(subscribed).status == "active"


def test_an_item_in_use_goes_without_being_billed(
    subscribed: Subscription, unfunded: Person
) -> None:
    """https://docs.stripe.com/billing/subscriptions/usage-based/manage-billing-setup: with flexible billing a removed
    price is billed at once by an item, unless `proration_behavior` is `none`.
    """
    buy(unfunded, "1024x1024", 30)
    [batch] = seal_all()
    sending.send_due()
    eventually(lambda: bool(confirming.confirm()))
    item = subscribed.items.get(price=batch.price)
    for _ in range(2):
        at_stripe.remove_item(item.item_id)
    assert item.item_id not in dict(at_stripe.find(str(subscribed.subscription_id)).items)
    assert pending_items(subscribed) == []
    with calling() as client:
        client.v1.subscriptions.cancel(
            str(subscribed.subscription_id), {"invoice_now": True, "prorate": False}
        )
    assert billed(batch) == 0


def test_events_are_listed_by_type_and_time(subscribed: Subscription) -> None:
    """https://docs.stripe.com/api/events/list: those of 30 days, also what no webhook has brought."""
    now = datetime.now(UTC).replace(microsecond=0)
    invoice = paid_invoice(subscribed, 60)

    def found(*, end: datetime) -> set[str]:
        start = now - timedelta(minutes=10)
        events = webhooks.listed(types=["invoice.finalized", "invoice.paid"], start=start, end=end)
        return {event.type for event in events if event.object_id == invoice}

    eventually(lambda: found(end=now + timedelta(hours=1)) == {"invoice.finalized", "invoice.paid"})
    assert found(end=now - timedelta(minutes=9)) == set()
