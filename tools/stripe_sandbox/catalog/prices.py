"""What is sold: products and their prices."""

from decimal import Decimal
from typing import Any

from tools.stripe_sandbox.state import clock, documents
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused
from tools.stripe_sandbox.state.store import Document

PRODUCT = (
    *("active", "description", "images", "metadata", "name", "shippable"),
    *("statement_descriptor", "tax_code", "unit_label", "url"),
)
PRICE = ("active", "metadata", "nickname", "lookup_key", "transfer_lookup_key")


def create_product(call: Call) -> Document:
    """Its id may be chosen by the caller."""
    key = call.params.get("id")
    if key and call.db.get_or_none("product", key):
        raise Refused(
            f"Product already exists with ID: {key}", code="resource_already_exists", param="id"
        )
    product = documents.new_object(
        "product",
        "prod",
        active=True,
        default_price=None,
        description=None,
        images=[],
        marketing_features=[],
        name="",
        package_dimensions=None,
        shippable=None,
        statement_descriptor=None,
        tax_code=None,
        type="service",
        unit_label=None,
        updated=clock.now(),
        url=None,
    )
    product["id"] = key or product["id"]
    documents.update(product, call.params, *PRODUCT)
    return call.db.add(product, product["created"])


def retrieve_product(call: Call) -> Document:
    return call.db.get("product", call.args["id"])


def create_price(call: Call) -> Document:
    """Only prices of recurring usage are billed here; a price never changes its amount."""
    product = call.params.get("product")
    if not product:
        raise Refused("You must specify `product`.", code="parameter_missing", param="product")
    call.db.get("product", product, "product")
    price = documents.new_object(
        "price",
        "price",
        active=True,
        billing_scheme="per_unit",
        currency=call.params["currency"].lower(),
        custom_unit_amount=None,
        lookup_key=None,
        nickname=None,
        product=product,
        recurring=_recurring(call),
        tax_behavior=call.params.get("tax_behavior", "unspecified"),
        tiers_mode=None,
        transform_quantity=None,
        type="recurring" if "recurring" in call.params else "one_time",
        **_amounts(call.params),
    )
    documents.update(price, call.params, "active", "metadata", "nickname")
    _take_lookup_key(call, price)
    return call.db.add(price, price["created"])


def _recurring(call: Call) -> Document | None:
    given = call.params.get("recurring")
    if given is None:
        return None
    usage_type = given.get("usage_type", "licensed")
    if (usage_type == "metered") != ("meter" in given):
        raise Refused(
            "Metered prices must be backed by a meter: set `recurring[usage_type]=metered` together with "
            "`recurring[meter]`.",
            param="recurring[meter]",
        )
    if "meter" in given:
        call.db.get("billing.meter", given["meter"], "recurring[meter]")
    return {
        "interval": given["interval"],
        "interval_count": given.get("interval_count", 1),
        "meter": given.get("meter"),
        "trial_period_days": None,
        "usage_type": usage_type,
    }


def _amounts(params: Document) -> dict[str, Any]:
    """Both ways of writing the amount; `unit_amount` is null where it is no whole number of cents."""
    if ("unit_amount" in params) == ("unit_amount_decimal" in params):
        raise Refused(
            "You must specify either `unit_amount` or `unit_amount_decimal`, and not both.",
            param="unit_amount",
        )
    text = str(params.get("unit_amount", params.get("unit_amount_decimal")))
    amount = Decimal(text)
    if amount < 0:
        raise Refused("This value must be greater than or equal to 0.", param="unit_amount")
    if -int(amount.as_tuple().exponent) > 12:  # noqa: PLR2004 - Stripe's limit
        raise Refused(
            "`unit_amount_decimal` must contain at most 12 decimal places.",
            param="unit_amount_decimal",
        )
    whole = amount == amount.to_integral_value()
    return {
        "unit_amount": int(amount) if whole else None,
        "unit_amount_decimal": format(amount.normalize(), "f"),
    }


def _take_lookup_key(call: Call, price: Document) -> None:
    """One price has it at a time; it moves only when that is asked for."""
    key = call.params.get("lookup_key")
    if key is None:
        return
    for holder in call.db.find("price", lookup_key=key):
        if not call.params.get("transfer_lookup_key"):
            raise Refused(
                f"A price (`{holder['id']}`) already uses that lookup key.", param="lookup_key"
            )
        call.db.save({**holder, "lookup_key": None})
    price["lookup_key"] = key or None


def list_prices(call: Call) -> Document:
    names = {"active": "active", "product": "product", "lookup_keys": "lookup_key"}
    names |= {"currency": "currency", "type": "type"}
    where = {own: call.params.get(name) for name, own in names.items()}
    return documents.page(call.db, "price", call.params, "/v1/prices", **where)
