"""What happens as time passes, with a clock that a test can turn."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.stripe_sandbox.catalog import meters, prices
from tools.stripe_sandbox.controls import due
from tools.stripe_sandbox.invoices import cards, payments
from tools.stripe_sandbox.state import clock
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.store import Store, Transaction
from tools.stripe_sandbox.subscriptions import checkout, customers, subscriptions

START = 1_800_000_000


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.time = START

    def machine(self) -> float:
        return float(self.time)


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> Clock:
    turned = Clock()
    monkeypatch.setattr(clock, "machine", turned.machine)
    return turned


@pytest.fixture
def db(tmp_path: Path, turned: Clock) -> Iterator[Transaction]:
    with Store(tmp_path / "state.sqlite3").transaction() as db:
        yield db


def subscribe(db: Transaction, card: str = "pm_card_visa") -> Any:
    """To one price of two cents."""
    meter = {
        "display_name": "images",
        "event_name": "images",
        "default_aggregation": {"formula": "sum"},
    }
    key = meters.create(Call(db, meter, {}))["id"]
    product = prices.create_product(Call(db, {"name": "images"}, {}))["id"]
    recurring = {"interval": "month", "usage_type": "metered", "meter": key}
    price = {"product": product, "currency": "usd", "unit_amount": 2, "recurring": recurring}
    price = prices.create_price(Call(db, price, {}))
    customer = customers.create(Call(db, {}, {}))["id"]
    params = {
        "customer": customer,
        "items": [{"price": price["id"]}],
        "default_payment_method": cards.attach_to(db, card, customer)["id"],
    }
    return subscriptions.create(Call(db, params, {}))


def newest_invoice(db: Transaction) -> Any:
    return db.find("invoice")[0]


def test_a_period_ends_when_it_is_over_and_its_draft_becomes_final_later(
    db: Transaction, turned: Clock
) -> None:
    subscription = subscribe(db)
    end = subscription["items"]["data"][0]["current_period_end"]
    turned.time = end - 1
    due.run_due(db)
    assert len(db.find("invoice")) == 1
    turned.time = end + 1
    due.run_due(db)
    invoice = newest_invoice(db)
    assert (invoice["status"], invoice["period_start"], invoice["period_end"]) == (
        "draft",
        START,
        end,
    )
    (item,) = db.find("subscription")[0]["items"]["data"]
    assert item["current_period_start"] == end
    assert item["current_period_end"] == clock.later(START, "month", 2)
    turned.time += 10
    due.run_due(db)
    assert newest_invoice(db)["status"] == "paid"


def test_months_that_nobody_watched_are_made_up_for(db: Transaction, turned: Clock) -> None:
    subscribe(db)
    turned.time = clock.later(START, "month", 3) + 60
    due.run_due(db)
    ends = [invoice["period_end"] for invoice in db.find("invoice")][::-1]
    assert ends == [START, *(clock.later(START, "month", month) for month in (1, 2, 3))]


def test_a_failed_payment_is_tried_again_in_three_days(db: Transaction, turned: Clock) -> None:
    subscription = subscribe(db, "pm_card_chargeCustomerFail")
    invoice = newest_invoice(db)
    db.save(invoice | {"status": "open", "amount_due": 100, "amount_remaining": 100})
    payments.attempt(db, newest_invoice(db))
    turned.time += payments.RETRY_SECONDS - 1
    due.run_due(db)
    assert newest_invoice(db)["attempt_count"] == 1
    turned.time += 1
    due.run_due(db)
    assert newest_invoice(db)["attempt_count"] == 2
    assert db.get("subscription", subscription["id"])["status"] == "past_due"


def test_a_checkout_session_lasts_a_day(db: Transaction, turned: Clock) -> None:
    subscription = subscribe(db)
    params = {
        "mode": "subscription",
        "customer": subscription["customer"],
        "success_url": "http://shop.test",
        "line_items": [{"price": subscription["items"]["data"][0]["price"]["id"]}],
    }
    checkout.create(Call(db, params, {}))
    turned.time += 24 * 3600 - 1
    due.run_due(db)
    assert db.find("checkout.session")[0]["status"] == "open"
    turned.time += 1
    due.run_due(db)
    assert db.find("checkout.session")[0]["status"] == "expired"
