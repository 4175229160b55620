"""A shop that sells images by the piece, in an empty sandbox."""

import itertools
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
import stripe

from tests.stripe_sandbox import StripeSandbox, sandbox, sandbox_server

__all__ = ["sandbox", "sandbox_server"]


@dataclass
class Shop:
    """One meter, one price of two cents, one customer."""

    sandbox: StripeSandbox
    api: Any
    meter: Any = None
    price: Any = None
    customer: Any = None
    numbers: itertools.count = field(default_factory=itertools.count)

    def sell(self, event_name: str = "images", cents: str = "2") -> Any:
        """A metered price, with a meter and a product of its own."""
        self.meter = self.api.billing.meters.create(
            {
                "display_name": event_name,
                "event_name": event_name,
                "default_aggregation": {"formula": "sum"},
            }
        )
        product = self.api.products.create({"name": event_name, "unit_label": "image"})
        self.price = self.api.prices.create(
            {
                "product": product.id,
                "currency": "usd",
                "unit_amount_decimal": cents,
                "recurring": {"interval": "month", "usage_type": "metered", "meter": self.meter.id},
            }
        )
        return self.price

    def checkout(self, **more: Any) -> Any:
        """An open session for the customer and the price."""
        params = {
            "mode": "subscription",
            "customer": self.customer.id,
            "line_items": [{"price": self.price.id}],
            "success_url": "http://shop.test/done?session={CHECKOUT_SESSION_ID}",
            "client_reference_id": "org_1",
        }
        return self.api.checkout.sessions.create(params | more)

    def subscribe(self, card: str = "4242424242424242") -> Any:
        """Complete a checkout; returns the subscription."""
        self.sandbox.complete_checkout(self.checkout().id, card=card)
        return self.api.subscriptions.list({"customer": self.customer.id}).data[0]

    def use(self, value: object = 1, **more: Any) -> Any:
        """Report the use of that many images."""
        params = {
            "event_name": "images",
            "identifier": f"use-{next(self.numbers)}",
            "timestamp": int(time.time()),
            "payload": {"stripe_customer_id": self.customer.id, "value": str(value)},
        }
        return self.api.billing.meter_events.create(params | more)

    def owe(self, cents: int) -> Any:
        """An amount that the next invoice asks for. Unlike usage it need not wait for the second to pass."""
        params = {"customer": self.customer.id, "amount": cents, "currency": "usd"}
        return self.api.invoice_items.create(params)

    def bill(self, subscription: str) -> Any:
        """End the period and finalize its invoice."""
        return self.sandbox.finalize(self.sandbox.end_period(subscription)["id"])

    def kinds(self) -> list[str]:
        """The types of all events so far."""
        return [event["type"] for event in self.sandbox.events()]


@pytest.fixture
def api(sandbox: StripeSandbox) -> Any:
    """The real client's v1, which does not try again by itself."""
    return sandbox.client(max_network_retries=0).v1


@pytest.fixture
def shop(sandbox: StripeSandbox, api: Any) -> Shop:
    shop = Shop(sandbox, api)
    shop.customer = api.customers.create({"email": "alice@example.com"})
    shop.sell()
    return shop


def refusal(*, code: str | None = None, param: str | None = None, text: str = "") -> Any:
    """The error that Stripe's client raises for a refusal with these."""

    def fits(error: stripe.StripeError) -> bool:
        found = error.error
        return (
            (code is None or error.code == code)
            and (param is None or getattr(found, "param", None) == param)
            and text in str(error)
        )

    return pytest.raises(stripe.StripeError, check=fits)
