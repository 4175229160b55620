"""Single amounts for a customer's next invoice, or for a draft."""

from tools.stripe_sandbox.invoices import invoices, lines
from tools.stripe_sandbox.state import clock, documents, events
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused, absent
from tools.stripe_sandbox.state.store import Document, Transaction

# Stripe's limit for the items of an invoice, and for those that wait for one.
MOST_ITEMS = 250
CHANGEABLE = ("amount", "quantity", "unit_amount_decimal", "description", "metadata", "period")


def create(call: Call) -> Document:
    """An `amount` in cents, which may be negative, or a quantity at a price for each."""
    db, params, now = call.db, call.params, clock.now()
    if "customer" not in params:
        raise absent("customer")
    customer = documents.existing(db, "customer", params["customer"], "customer")
    item = documents.new_object(
        "invoiceitem",
        "ii",
        currency=params.get("currency") or params.get("price_data", {}).get("currency", "usd"),
        customer=customer["id"],
        date=now,
        description=None,
        discountable=True,
        discounts=[],
        invoice=params.get("invoice"),
        parent=None,
        period={"start": now, "end": now},
        pricing=None,
        proration=False,
        quantity=1,
        tax_rates=[],
        _pending="invoice" not in params,
        # Whether it had no invoice at first.
        _waited=False,
    )
    _price(item, params)
    _take(item, params)
    draft = _draft_of(db, item)
    where = {"invoice": draft["id"]} if draft else {"customer": customer["id"], "_pending": True}
    if len(db.find("invoiceitem", **where)) >= MOST_ITEMS:
        raise Refused(f"There can be at most {MOST_ITEMS} invoice items.", param="invoice")
    db.add(item, now)
    events.emit(db, "invoiceitem.created", item)
    if draft:
        draft["lines"]["data"].append(lines.of_item(draft["id"], item))
        invoices.tell(db, draft, "invoice.updated")
    return item


def _take(item: Document, params: Document) -> None:
    """What is no sum of money."""
    period: Document = params.get("period") or item["period"]
    if period["end"] < period["start"]:
        raise Refused("The period cannot end before it starts.", param="period[end]")
    documents.update(item, params, "description", "metadata", "period")


def _price(item: Document, params: Document) -> None:
    """What it costs: a sum, or a quantity of something with a price for each."""
    unit, product = _unit(params)
    item["quantity"] = params.get("quantity", item["quantity"])
    if unit is None:
        item |= {"amount": params["amount"], "pricing": None}
        return
    item["amount"] = lines.cents(item["quantity"], unit)
    item["pricing"] = {
        "type": "price_details",
        "price_details": {"price": None, "product": product},
        "unit_amount_decimal": unit,
    }


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


def _draft_of(db: Transaction, item: Document) -> Document | None:
    """The draft that an item is in, if it is in an invoice.

    Raises:
        Refused: the invoice is of another customer or currency, or final.
    """
    if item["invoice"] is None:
        return None
    invoice = db.get("invoice", item["invoice"], "invoice")
    for name in ("customer", "currency"):
        if invoice[name] != item[name]:
            raise Refused(f"The {name} of the invoice is another: {invoice[name]}.", param=name)
    if invoice["status"] != "draft":
        raise Refused(
            "This invoice is no longer editable.", code="invoice_not_editable", param="invoice"
        )
    return invoice


def retrieve(call: Call) -> Document:
    return call.db.get("invoiceitem", call.args["id"])


def update(call: Call) -> Document:
    """Until its invoice is final; the draft's line and sums follow."""
    db, item, params = call.db, retrieve(call), call.params
    draft = _draft_of(db, item)
    _take(item, params)
    if item["pricing"] and "amount" not in params:
        params = {"unit_amount_decimal": item["pricing"]["unit_amount_decimal"], **params}
    if {"amount", "unit_amount_decimal"} & params.keys():
        _price(item, params)
    db.save(item)
    if draft:
        found = draft["lines"]["data"]
        for place, line in enumerate(found):
            if lines.is_of_item(line, item["id"]):
                found[place] = lines.of_item(draft["id"], item) | {"id": line["id"]}
        invoices.tell(db, draft, "invoice.updated")
    return item


def delete(call: Call) -> Document:
    """Until its invoice is final; it is in no draft any more."""
    db, item = call.db, retrieve(call)
    draft = _draft_of(db, item)
    db.remove(item)
    events.emit(db, "invoiceitem.deleted", item)
    if draft:
        kept = [each for each in draft["lines"]["data"] if not lines.is_of_item(each, item["id"])]
        draft["lines"]["data"] = kept
        invoices.tell(db, draft, "invoice.updated")
    return {"id": item["id"], "object": "invoiceitem", "deleted": True}


def listed(call: Call) -> Document:
    where = {
        "customer": call.params.get("customer"),
        "invoice": call.params.get("invoice"),
        "_pending": call.params.get("pending"),
    }
    return documents.page(call.db, "invoiceitem", call.params, "/v1/invoiceitems", **where)
