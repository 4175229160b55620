"""Products, meters and metered prices: found by their names, else made; and the portal's settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from billing.gateway.client import calling
from billing.gateway.errors import StripeRefused


@dataclass(frozen=True)
class Meter:
    """A meter at Stripe, which counts the events named `event_name`."""

    id: str
    event_name: str


@dataclass(frozen=True)
class PriceAtStripe:
    """A metered price; `cents` for one image may have decimals."""

    id: str
    lookup_key: str
    meter_id: str
    cents: Decimal
    active: bool


def find_product(product_id: str) -> bool:
    """Whether Stripe has a product with this id, which we choose."""
    try:
        with calling() as client:
            client.v1.products.retrieve(product_id)
    except StripeRefused as refusal:
        if refusal.is_missing:
            return False
        raise
    return True


def make_product(*, product_id: str, name: str, unit_label: str) -> None:
    """A product under an id of ours, so a second one cannot be made by mistake."""
    with calling() as client:
        client.v1.products.create(
            {"id": product_id, "name": name, "unit_label": unit_label},
            {"idempotency_key": f"product:{product_id}"},
        )


def meters() -> Iterator[Meter]:
    """All active meters: Stripe cannot be asked for one by its event name."""
    after: str | None = None
    while True:
        with calling() as client:
            page = client.v1.billing.meters.list(
                {"status": "active", "limit": 100, **({"starting_after": after} if after else {})}
            )
        for meter in page.data:
            yield Meter(meter.id, meter.event_name)
            after = meter.id
        if not page.has_more:
            return


def make_meter(*, event_name: str, display_name: str) -> Meter:
    """A meter that adds up whole numbers for each customer. Stripe never changes anything of it but the display name."""
    with calling() as client:
        meter = client.v1.billing.meters.create(
            {
                "event_name": event_name,
                "display_name": display_name,
                "default_aggregation": {"formula": "sum"},
                "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
                "value_settings": {"event_payload_key": "value"},
            }
        )
    return Meter(meter.id, meter.event_name)


def find_price(lookup_key: str) -> PriceAtStripe | None:
    """The price of that lookup key; None where there is none."""
    with calling() as client:
        found = client.v1.prices.list({"lookup_keys": [lookup_key], "limit": 1}).data
    if not found:
        return None
    [price] = found
    meter = price.recurring.meter if price.recurring else None
    return PriceAtStripe(
        id=price.id,
        lookup_key=lookup_key,
        meter_id=meter or "",
        cents=price.unit_amount_decimal or Decimal(0),
        active=price.active,
    )


def make_price(
    *, lookup_key: str, product_id: str, meter_id: str, cents: Decimal, nickname: str
) -> PriceAtStripe:
    """A monthly metered price in US dollars; `cents` for one image may have decimals."""
    with calling() as client:
        price = client.v1.prices.create(
            {
                "currency": "usd",
                "product": product_id,
                "unit_amount_decimal": cents,
                "nickname": nickname,
                "lookup_key": lookup_key,
                "recurring": {"interval": "month", "usage_type": "metered", "meter": meter_id},
            }
        )
    return PriceAtStripe(price.id, lookup_key, meter_id, cents, active=True)


def make_portal(*, return_url: str) -> str:
    """What customers may do in the portal: cards, address, invoices, and cancel at the period's end.

    At the end and not at once: canceling at once loses use that no invoice holds yet.
    """
    with calling() as client:
        made = client.v1.billing_portal.configurations.create(
            {
                "default_return_url": return_url,
                "features": {
                    "customer_update": {
                        "enabled": True,
                        "allowed_updates": ["address", "name", "email", "tax_id"],
                    },
                    "invoice_history": {"enabled": True},
                    "payment_method_update": {"enabled": True},
                    "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
                },
                "metadata": {"ecohash": "portal"},
            }
        )
    return made.id
