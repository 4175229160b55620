"""Products, prices and meters."""

from decimal import Decimal
from typing import Any

import pytest

from tools.stripe_sandbox.tests.conftest import Shop, refusal


def test_a_product_may_choose_its_id_once(api: Any) -> None:
    assert api.products.create({"id": "flux", "name": "FLUX"}).id == "flux"
    with refusal(code="resource_already_exists"):
        api.products.create({"id": "flux", "name": "FLUX again"})
    assert api.products.retrieve("flux").name == "FLUX"


def test_an_event_name_belongs_to_one_meter(shop: Shop) -> None:
    meters = shop.api.billing.meters
    again: Any = {
        "display_name": "again",
        "event_name": "images",
        "default_aggregation": {"formula": "sum"},
    }
    with refusal(param="event_name"):
        meters.create(again)
    assert [each.id for each in meters.list({"status": "active"}).data] == [shop.meter.id]


def test_a_meter_reads_the_usual_payload_keys_only(api: Any) -> None:
    meter = {
        "display_name": "a",
        "event_name": "a",
        "default_aggregation": {"formula": "sum"},
        "value_settings": {"event_payload_key": "tokens"},
    }
    with refusal(text="payload keys"):
        api.billing.meters.create(meter)


def test_a_metered_price_needs_a_meter(shop: Shop) -> None:
    with refusal(param="recurring[meter]"):
        shop.api.prices.create(
            {
                "product": shop.price.product,
                "currency": "usd",
                "unit_amount": 2,
                "recurring": {"interval": "month", "usage_type": "metered"},
            }
        )


def test_a_lookup_key_moves_only_on_request(shop: Shop) -> None:
    other = shop.sell("others", "0.5")
    params = {
        "product": other.product,
        "currency": "usd",
        "unit_amount_decimal": Decimal("0.25"),
        "recurring": {
            "interval": "month",
            "usage_type": "metered",
            "meter": other.recurring.meter,
        },
        "lookup_key": "image",
    }
    shop.api.prices.create(params)
    with refusal(param="lookup_key"):
        shop.api.prices.create(params)
    third = shop.api.prices.create(params | {"transfer_lookup_key": True})
    found = shop.api.prices.list({"lookup_keys": ["image"], "expand": ["data.product"]}).data
    assert [each.id for each in found] == [third.id]
    assert found[0].product.name == "others"
    assert found[0].unit_amount is None and found[0].unit_amount_decimal == Decimal("0.25")


@pytest.mark.parametrize("amounts", [{}, {"unit_amount": 1, "unit_amount_decimal": "1"}])
def test_a_price_has_one_amount(shop: Shop, amounts: dict[str, Any]) -> None:
    with refusal(param="unit_amount"):
        shop.api.prices.create({"product": shop.price.product, "currency": "usd"} | amounts)
