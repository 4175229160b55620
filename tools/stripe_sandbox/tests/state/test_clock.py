"""The clock that a test moves, what happens on the way, and the settings that it may change."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.stripe_sandbox import StripeSandbox
from tools.stripe_sandbox.tests.catalog.test_usage import summary
from tools.stripe_sandbox.tests.conftest import Shop

HOUR = 3600
DAY = 24 * HOUR


def invoices_of(shop: Shop, subscription: str) -> list[Any]:
    """The oldest first."""
    return shop.api.invoices.list({"subscription": subscription}).data[::-1]


def end_of(subscription: Any) -> int:
    return subscription["items"].data[0].current_period_end


def test_the_clock_goes_forward_until_the_reset(shop: Shop) -> None:
    assert shop.sandbox.advance(DAY) == pytest.approx(time.time() + DAY, abs=5)
    assert shop.api.customers.create({}).created >= int(time.time()) + DAY
    with pytest.raises(AssertionError, match="forward only"):
        shop.sandbox.advance_to(time.time())
    with pytest.raises(AssertionError, match="0 or more"):
        shop.sandbox.advance(-1)
    shop.sandbox.reset()
    assert shop.sandbox.clock() == pytest.approx(time.time(), abs=5)


def test_signatures_are_of_the_clock(shop: Shop) -> None:
    shop.sandbox.advance(DAY)
    (body, signature), *_ = shop.sandbox.undelivered()
    assert int(signature[2:].partition(",")[0]) == pytest.approx(shop.sandbox.clock(), abs=5)
    stripe.WebhookSignature.verify_header(body.decode(), signature, shop.sandbox.webhook_secret)


def test_what_falls_due_on_the_way_happens_in_order_and_at_its_moment(shop: Shop) -> None:
    subscription = shop.subscribe()
    end = end_of(subscription)
    shop.sandbox.advance_to(end - DAY)
    shop.use(100, timestamp=end - DAY)
    shop.sandbox.advance(63 * DAY)
    first, second, third, *_ = invoices_of(shop, subscription.id)
    assert first.billing_reason == "subscription_create"
    assert (second.period_end, second.created, second.amount_paid) == (end, end, 200)
    assert second.status_transitions.finalized_at == end + HOUR
    assert (third.period_start, third.created, third.total) == (end, third.period_end, 0)
    bodies = [json.loads(body) for body, _ in shop.sandbox.undelivered()]
    moments = [body["created"] for body in bodies]
    assert moments == sorted(moments)


def test_a_held_draft_is_still_one_when_its_time_has_passed(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.sandbox.advance_to(end_of(subscription))
    draft = invoices_of(shop, subscription.id)[-1]
    assert draft.automatically_finalizes_at == end_of(subscription) + HOUR
    shop.api.invoices.update(draft.id, {"auto_advance": False})
    shop.sandbox.advance(2 * HOUR)
    assert shop.api.invoices.retrieve(draft.id).status == "draft"
    again = shop.api.invoices.update(draft.id, {"auto_advance": True})
    assert again.automatically_finalizes_at == pytest.approx(shop.sandbox.clock() + HOUR, abs=5)
    shop.sandbox.advance(HOUR - 10)
    assert shop.api.invoices.retrieve(draft.id).status == "draft"
    shop.sandbox.advance(10)
    assert shop.api.invoices.retrieve(draft.id).status == "paid"


def test_payments_are_tried_again_in_time(shop: Shop) -> None:
    subscription = shop.subscribe("4000000000000341")
    shop.owe(200)
    key = shop.bill(subscription.id)["id"]
    shop.sandbox.advance(7 * DAY)
    assert shop.api.invoices.retrieve(key).attempt_count == 3


def test_a_failed_finalization_is_not_tried_again(shop: Shop) -> None:
    key = shop.sandbox.end_period(shop.subscribe().id)["id"]
    shop.sandbox.fail_finalization(key)
    shop.sandbox.advance(2 * HOUR)
    draft = shop.api.invoices.retrieve(key)
    assert (draft.status, draft.automatically_finalizes_at) == ("draft", None)


def test_settings_hold_until_the_reset(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.use(100)
    shop.sandbox.settings(draft_seconds=60, summary_lag_seconds=300)
    assert summary(shop)[0].aggregated_value == 0
    shop.sandbox.advance_to(end_of(subscription) + 59)
    draft = invoices_of(shop, subscription.id)[-1]
    assert (draft.status, draft.automatically_finalizes_at) == ("draft", draft.created + 60)
    shop.sandbox.advance(1)
    assert shop.api.invoices.retrieve(draft.id).status == "paid"
    shop.sandbox.reset()
    assert shop.sandbox.settings() == {"draft_seconds": HOUR, "summary_lag_seconds": 0}
    with pytest.raises(AssertionError, match="There are draft_seconds"):
        shop.sandbox.settings(lag=1)


def test_the_clock_survives_a_kill(tmp_path: Path) -> None:
    server = StripeSandbox(tmp_path)
    server.start()
    try:
        server.advance(DAY)
        server.kill()
        server.start()
        assert server.clock() == pytest.approx(time.time() + DAY, abs=30)
    finally:
        server.stop()
