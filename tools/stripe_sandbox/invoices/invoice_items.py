"""Single amounts for a customer's next invoice, or for a draft."""

from tools.stripe_sandbox.invoices import invoices, lines
from tools.stripe_sandbox.state import clock, documents
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused, absent
from tools.stripe_sandbox.state.store import Document


def create(call: Call) -> Document:
    """An `amount` in cents, or a quantity at a price for each."""
    params, now = call.params, clock.now()
    if "customer" not in params:
        raise absent("customer")
    customer = call.db.get("customer", params["customer"], "customer")
    count = params.get("quantity", 1)
    unit, product = _unit(params)
    item = documents.new_object(
        "invoiceitem",
        "ii",
        amount=params["amount"] if unit is None else lines.cents(count, unit),
        currency=params.get("currency") or params.get("price_data", {}).get("currency", "usd"),
        customer=customer["id"],
        date=now,
        description=None,
        discountable=True,
        discounts=[],
        invoice=None,
        parent=None,
        period=params.get("period", {"start": now, "end": now}),
        pricing=None
        if unit is None
        else {
            "type": "price_details",
            "price_details": {"price": None, "product": product},
            "unit_amount_decimal": unit,
        },
        proration=False,
        quantity=count,
        tax_rates=[],
        _pending=True,
        # Whether it had no invoice at first.
        _waited=False,
    )
    documents.update(item, params, "description", "metadata")
    if key := params.get("invoice"):
        _put_into(call, item, key)
    return call.db.add(item, now)


def _unit(params: Document) -> tuple[str | None, str | None]:
    """The price of one, and its product."""
    data = params.get("price_data", {})
    for source in (params, data):
        for name in ("unit_amount_decimal", "unit_amount"):
            if name in source:
                return str(source[name]), data.get("product")
    if "amount" not in params:
        raise Refused(
            "You must specify `amount`, `unit_amount_decimal` or `price_data`.",
            code="parameter_missing",
            param="amount",
        )
    return None, None


def _put_into(call: Call, item: Document, key: str) -> None:
    invoice = call.db.get("invoice", key, "invoice")
    if invoice["status"] != "draft":
        raise Refused(
            "The invoice is no draft any more.", code="invoice_not_editable", param="invoice"
        )
    item |= {"invoice": key, "_pending": False}
    invoice["lines"]["data"].append(lines.of_item(key, item))
    call.db.save(invoices.current(call.db, invoice))


def listed(call: Call) -> Document:
    where = {
        "customer": call.params.get("customer"),
        "invoice": call.params.get("invoice"),
        "_pending": call.params.get("pending"),
    }
    return documents.page(call.db, "invoiceitem", call.params, "/v1/invoiceitems", **where)
