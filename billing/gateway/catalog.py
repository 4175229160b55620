"""Products, meters and metered prices, and the portal's settings: found by their names, else created.

Each `find_or_create_*` also returns whether it is new.
"""

from dataclasses import dataclass
from decimal import Decimal

import stripe

from billing.gateway.client import calling
from billing.gateway.conversions import metadata_of
from billing.gateway.creating import find_or_create
from billing.gateway.errors import StripeRefused

PORTAL_MARK = ("ecohash", "portal")


@dataclass(frozen=True)
class PriceAtStripe:
    """A metered price; `cents` for one image may have decimals."""

    id: str
    lookup_key: str
    meter_id: str
    cents: Decimal
    active: bool


def find_or_create_product(*, product_id: str, name: str, unit_label: str) -> bool:
    """A product under an id of ours, which Stripe lets us choose. Returns whether it is new."""

    def find() -> stripe.Product | None:
        try:
            with calling() as client:
                return client.v1.products.retrieve(product_id)
        except StripeRefused as refusal:
            if refusal.is_missing:
                return None
            raise

    _, is_new = find_or_create(
        f"product:{product_id}",
        find=find,
        create=lambda client, options: client.v1.products.create(
            {"id": product_id, "name": name, "unit_label": unit_label}, options
        ),
    )
    return is_new


def find_or_create_meter(*, event_name: str, display_name: str) -> tuple[str, bool]:
    """The id of the meter that adds up whole numbers for each customer.

    Stripe never changes anything of it but the display name.
    """

    def find() -> stripe.billing.Meter | None:
        with calling() as client:
            # Stripe cannot be asked for one by its event name.
            page = client.v1.billing.meters.list({"status": "active", "limit": 100})
            return next((m for m in page.auto_paging_iter() if m.event_name == event_name), None)

    meter, is_new = find_or_create(
        f"meter:{event_name}",
        find=find,
        create=lambda client, options: client.v1.billing.meters.create(
            {
                "event_name": event_name,
                "display_name": display_name,
                "default_aggregation": {"formula": "sum"},
                "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
                "value_settings": {"event_payload_key": "value"},
            },
            options,
        ),
    )
    return meter.id, is_new


def find_or_create_price(
    *, lookup_key: str, product_id: str, meter_id: str, cents: Decimal, nickname: str
) -> tuple[PriceAtStripe, bool]:
    """The monthly metered price in US dollars; `cents` for one image may have decimals.

    One that is found may differ from what was asked for: the caller compares.
    """

    def find() -> stripe.Price | None:
        with calling() as client:
            found = client.v1.prices.list({"lookup_keys": [lookup_key], "limit": 1}).data
        return found[0] if found else None

    price, is_new = find_or_create(
        f"price:{lookup_key}",
        find=find,
        create=lambda client, options: client.v1.prices.create(
            {
                "currency": "usd",
                "product": product_id,
                "unit_amount_decimal": cents,
                "nickname": nickname,
                "lookup_key": lookup_key,
                "recurring": {"interval": "month", "usage_type": "metered", "meter": meter_id},
            },
            options,
        ),
    )
    at_stripe = PriceAtStripe(
        id=price.id,
        lookup_key=lookup_key,
        meter_id=(price.recurring.meter if price.recurring else None) or "",
        cents=price.unit_amount_decimal or Decimal(0),
        active=price.active,
    )
    return at_stripe, is_new


def find_or_create_portal(*, return_url: str) -> tuple[str, bool]:
    """What customers may do in the portal: cards, address, invoices, and cancel at the period's end.

    At the end and not at once: canceling at once loses use that no invoice holds yet.
    """
    mark, value = PORTAL_MARK

    def find() -> stripe.billing_portal.Configuration | None:
        with calling() as client:
            page = client.v1.billing_portal.configurations.list({"active": True, "limit": 100})
            ours = (
                each
                for each in page.auto_paging_iter()
                if each.default_return_url == return_url
                and metadata_of(each.metadata).get(mark) == value
            )
            return next(ours, None)

    configuration, is_new = find_or_create(
        f"portal:{return_url}",
        find=find,
        create=lambda client, options: client.v1.billing_portal.configurations.create(
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
                "metadata": {mark: value},
            },
            options,
        ),
    )
    return configuration.id, is_new
