"""Price changes reach every subscription, however many there are and whatever Stripe refuses for one."""

from collections.abc import Iterable

import pytest

from billing.gateway import subscriptions as at_stripe
from billing.ledger import pricing
from billing.models import (
    Invoice,
    InvoiceLine,
    MeteredPrice,
    Notice,
    Subscription,
    SubscriptionItem,
    UsageBatch,
)
from billing.reporting import batching
from billing.subscriptions import items, syncing
from tests.cast import Person
from tests.payment import buy, make_subscriber
from tests.stripe_sandbox import StripeSandbox

ITEMS = "^/v1/subscription_items"


def row_of(person: Person) -> Subscription:
    return Subscription.objects.get(pk=person.organization.pk)


def change_prices(amount_micros: int, sizes: Iterable[str] = ("512x512",)) -> None:
    for size in sizes:
        pricing.set_price(model=pricing.DEFAULT_MODEL, size=size, amount_micros=amount_micros)


def versions(person: Person, size: str = "512x512") -> list[int]:
    found = row_of(person).items.filter(price__size=size)
    return sorted(found.values_list("price__version", flat=True))


def claim(person: Person) -> None:
    """All batches so far are on an invoice."""
    invoice = Invoice.objects.create(
        organization=person.organization, kind="period", stripe_id="in_1", customer_id="cus_1"
    )
    for batch in UsageBatch.objects.unclaimed().filter(organization=person.organization):
        line, _ = InvoiceLine.objects.get_or_create(invoice=invoice, price=batch.price)
        UsageBatch.objects.filter(pk=batch.pk).update(invoice_line=line)


def test_a_new_price_holds_only_after_stripe_has_confirmed_it(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    pricing.set_price(model=pricing.DEFAULT_MODEL, size="512x512", amount_micros=12_000)
    [hold] = buy(subscriber)
    assert (hold.amount_micros, hold.price.version) == (10_000, 1)
    syncing.refresh_subscriptions()
    [hold] = buy(subscriber)
    assert (hold.amount_micros, hold.price.version) == (12_000, 2)
    assert row_of(subscriber).items.count() == 6


def test_what_stripe_refuses_for_one_subscription_holds_up_no_other(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    other = make_subscriber("Tom", stripe_here)
    pricing.set_price(model=pricing.DEFAULT_MODEL, size="512x512", amount_micros=12_000)
    stripe_here.fault("400", path="^/v1/subscription_items$", method="POST", times=1)
    new = SubscriptionItem.objects.filter(price__version=2)
    syncing.refresh_subscriptions()
    assert new.count() == 1
    syncing.refresh_subscriptions()
    assert {each.subscription_id for each in new} == {row_of(p).pk for p in (subscriber, other)}


def test_a_refusal_is_told_to_staff_once_a_day(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    change_prices(12_000)
    stripe_here.fault("400", path=ITEMS, method="POST")
    syncing.refresh_subscriptions()
    syncing.refresh_subscriptions()
    told = Notice.objects.get(organization=None)
    assert told.kind == "not_done"
    assert told.facts["organization_name"] == subscriber.organization.name
    assert "refused by a fault" in told.facts["detail"]


def test_one_that_was_canceled_meanwhile_is_synced_and_no_trouble(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    other = make_subscriber("Tom", stripe_here)
    stripe_here.client().v1.subscriptions.cancel(str(row_of(subscriber).subscription_id))
    change_prices(12_000)
    syncing.refresh_subscriptions()
    assert row_of(subscriber).status == "canceled"
    assert versions(other) == [1, 2]
    assert not Notice.objects.filter(organization=None).exists()


def test_seven_price_changes_in_one_period_reach_a_subscription(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    sizes = list(pricing.DEFAULT_PRICES_MICROS)
    for version in range(2, 8):
        # Their use is on no invoice, so that no item goes before its room is needed.
        for size in sizes:
            buy(subscriber, size)
        change_prices(10_000 + version, sizes)
        syncing.refresh_subscriptions()
        held = {buy(subscriber, size)[0].price.version for size in sizes}
        assert held == {version}
        batching.seal()
    for size in sizes:
        assert versions(subscriber, size) == [4, 5, 6, 7]
    assert not Notice.objects.filter(organization=None).exists()


def test_an_item_of_somebody_else_takes_room_too_and_stays(
    subscriber: Person, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = stripe_here.client()
    foreign = client.v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 100,
            "product": client.v1.products.create({"name": "Support"}).id,
            "recurring": {
                "interval": "month",
                "usage_type": "metered",
                "meter": str(MeteredPrice.objects.earliest("pk").meter_id),
            },
        }
    )
    subscription_id = str(row_of(subscriber).subscription_id)
    client.v1.subscription_items.create({"subscription": subscription_id, "price": foreign.id})
    monkeypatch.setattr(items, "MOST_ITEMS", 6)
    buy(subscriber)
    change_prices(12_000)
    syncing.refresh_subscriptions()
    assert versions(subscriber) == [2]
    there = client.v1.subscription_items.list({"subscription": subscription_id, "limit": 100}).data
    assert len(there) == 6
    assert foreign.id in {item.price.id for item in there}


def test_room_is_made_first_where_a_newer_price_is_confirmed(
    subscriber: Person, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    buy(subscriber)
    change_prices(12_000)
    syncing.refresh_subscriptions()
    change_prices(21_000, ["1024x1024"])
    monkeypatch.setattr(items, "MOST_ITEMS", 6)
    removed_first = []
    remove = at_stripe.remove_item

    def note(item_id: str) -> None:
        removed_first.append(SubscriptionItem.objects.get(item_id=item_id).price)
        remove(item_id)

    monkeypatch.setattr(at_stripe, "remove_item", note)
    syncing.refresh_subscriptions()
    assert [(price.size, price.version) for price in removed_first] == [("512x512", 1)]
    assert versions(subscriber, "1024x1024") == [1, 2]


def test_an_old_price_goes_when_nothing_at_it_is_open(subscriber: Person) -> None:
    buy(subscriber, images=3)
    change_prices(12_000)
    syncing.refresh_subscriptions()
    syncing.refresh_subscriptions()
    assert versions(subscriber) == [1, 2]
    batching.seal()
    syncing.refresh_subscriptions()
    assert versions(subscriber) == [1, 2]
    claim(subscriber)
    syncing.refresh_subscriptions()
    assert versions(subscriber) == [2]


def test_an_image_in_work_keeps_its_price(subscriber: Person) -> None:
    [hold] = buy(subscriber)
    subscriber.organization.holds.filter(pk=hold.pk).update(state="pending", ended_at=None)
    change_prices(12_000)
    syncing.refresh_subscriptions()
    syncing.refresh_subscriptions()
    assert versions(subscriber) == [1, 2]


def test_one_price_that_stripe_refuses_holds_up_no_other_price(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    change_prices(12_000, ["512x512", "768x768"])
    stripe_here.fault("400", path="^/v1/prices$", method="POST", times=1)
    syncing.refresh_subscriptions()
    new = MeteredPrice.objects.get(price__version=2).price
    assert versions(subscriber, new.size)[-1] == 2
    assert [note.kind for note in Notice.objects.filter(organization=None)] == [
        "catalog_incomplete"
    ]
    syncing.refresh_subscriptions()
    assert versions(subscriber)[-1] == versions(subscriber, "768x768")[-1] == 2
