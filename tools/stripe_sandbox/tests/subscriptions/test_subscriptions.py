"""Subscriptions: their items, their periods, and how they end."""

import time
from datetime import UTC, datetime

import pytest

from tools.stripe_sandbox.state import clock
from tools.stripe_sandbox.tests.conftest import Shop, refusal


def test_the_period_stands_on_the_items_and_lasts_a_month(shop: Shop) -> None:
    subscription = shop.subscribe()
    (item,) = subscription["items"].data
    assert not hasattr(subscription, "current_period_end")
    assert item.current_period_end == clock.later(item.current_period_start, "month", 1)
    assert item.price.recurring.meter == shop.meter.id


def test_months_end_on_their_last_day() -> None:
    moment = int(datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp())
    months = [datetime.fromtimestamp(clock.later(moment, "month", n), UTC) for n in (1, 2, 12)]
    assert [f"{each:%Y-%m-%d %H}" for each in months] == [
        "2027-02-28 12",
        "2027-03-31 12",
        "2028-01-31 12",
    ]


def test_it_begins_with_a_paid_invoice_of_nothing(shop: Shop) -> None:
    subscription = shop.subscribe()
    (invoice,) = shop.api.invoices.list({"subscription": subscription.id}).data
    assert (invoice.billing_reason, invoice.status, invoice.total) == (
        "subscription_create",
        "paid",
        0,
    )
    assert subscription.latest_invoice == invoice.id


def test_it_can_be_made_without_checkout(shop: Shop) -> None:
    card = shop.api.payment_methods.attach("pm_card_visa", {"customer": shop.customer.id})
    params = {
        "customer": shop.customer.id,
        "items": [{"price": shop.price.id}],
        "default_payment_method": card.id,
    }
    subscription = shop.api.subscriptions.create(params)
    assert subscription.status == "active"
    with refusal(param="items[0][quantity]"):
        shop.api.subscriptions.create(params | {"items": [{"price": shop.price.id, "quantity": 2}]})


def test_ending_at_once_loses_what_was_not_billed(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.use(100)
    assert shop.api.subscriptions.cancel(subscription.id).status == "canceled"
    assert [each.total for each in shop.api.invoices.list().data] == [0]
    assert shop.kinds()[-1] == "customer.subscription.deleted"
    with refusal(code="resource_missing"):
        shop.api.subscriptions.cancel(subscription.id)


def test_ending_at_once_with_an_invoice_bills_it(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.use(100)
    shop.api.subscriptions.cancel(subscription.id, {"invoice_now": True})
    last = shop.api.invoices.list().data[0]
    assert shop.sandbox.finalize(last.id)["amount_paid"] == 200


def test_ending_with_the_period_bills_the_period(shop: Shop) -> None:
    subscription = shop.subscribe()
    told = shop.api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert told.status == "active" and told.cancel_at
    shop.use(100)
    draft = shop.sandbox.end_period(subscription.id)
    assert (draft["status"], draft["total"]) == ("draft", 200)
    assert shop.api.subscriptions.retrieve(subscription.id).status == "canceled"
    assert shop.kinds()[-2:] == ["invoice.created", "customer.subscription.deleted"]


def test_the_end_can_be_taken_back(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    kept = shop.api.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert kept.cancel_at is None and kept.canceled_at is None


def test_those_that_ended_are_listed_on_request(shop: Shop) -> None:
    shop.api.subscriptions.cancel(shop.subscribe().id)
    lists = [{}, {"status": "all"}, {"status": "canceled"}, {"status": "ended"}]
    assert [len(shop.api.subscriptions.list(params).data) for params in lists] == [0, 1, 1, 1]


def test_an_item_that_is_deleted_takes_its_usage_with_it(shop: Shop) -> None:
    subscription = shop.subscribe()
    old = subscription["items"].data[0]
    new = shop.api.subscription_items.create(
        {"subscription": subscription.id, "price": shop.sell("newer", "3").id}
    )
    assert new.current_period_end == old.current_period_end
    shop.use(100)
    shop.use(100, event_name="newer")
    shop.api.subscription_items.delete(old.id)
    invoice = shop.sandbox.end_period(subscription.id)
    assert [line["amount"] for line in invoice["lines"]["data"]] == [300]
    with refusal(text="at least one active plan"):
        shop.api.subscription_items.delete(new.id)
    with refusal(param="price"):
        shop.api.subscription_items.create(
            {"subscription": subscription.id, "price": shop.price.id}
        )


def test_ten_items_are_shown_and_twenty_can_be_had(shop: Shop) -> None:
    subscription = shop.subscribe()
    for number in range(19):
        price = shop.sell(f"kind-{number}").id
        shop.api.subscription_items.create({"subscription": subscription.id, "price": price})
    with refusal(code="subscription_items_limit"):
        shop.api.subscription_items.create(
            {"subscription": subscription.id, "price": shop.sell("more").id}
        )
    found = shop.api.subscriptions.retrieve(subscription.id)["items"]
    assert len(found.data) == 10 and found.has_more
    assert len(list(found.auto_paging_iter())) == 20


def test_usage_counts_for_the_period_of_its_timestamp(shop: Shop) -> None:
    subscription = shop.subscribe()
    start = subscription["items"].data[0].current_period_start
    shop.use(50, timestamp=start - 1)
    shop.use(100, timestamp=start)
    draft = shop.sandbox.end_period(subscription.id)
    assert draft["total"] == 200
    # Late, but of the period that is still a draft.
    shop.use(10, timestamp=start)
    shop.use(1, timestamp=int(time.time()))
    final = shop.sandbox.finalize(draft["id"])
    assert final["total"] == 220
    # Later still: in no invoice.
    shop.use(1_000, timestamp=start)
    assert shop.sandbox.end_period(subscription.id)["total"] == 2


@pytest.mark.parametrize("word", ["cancel", "update"])
def test_what_has_ended_does_not_change(shop: Shop, word: str) -> None:
    subscription = shop.subscribe()
    shop.api.subscriptions.cancel(subscription.id)
    with refusal(param="id"):
        getattr(shop.api.subscriptions, word)(subscription.id)


def test_one_can_be_paused_and_resumed(shop: Shop) -> None:
    subscription = shop.subscribe()
    assert shop.sandbox.pause(subscription.id)["status"] == "paused"
    assert shop.sandbox.resume(subscription.id)["status"] == "active"
    assert shop.kinds()[-2:] == ["customer.subscription.paused", "customer.subscription.resumed"]
