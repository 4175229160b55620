"""The lines of an invoice, and the sum of them."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tools.stripe_sandbox.catalog import usage
from tools.stripe_sandbox.state import documents
from tools.stripe_sandbox.state.store import Document, Transaction


def cents(quantity: int, unit: str) -> int:
    """Rounded once, on the line, half up."""
    return int((quantity * Decimal(unit)).quantize(Decimal(1), ROUND_HALF_UP))


def line(
    invoice: str,
    *,
    currency: str,
    description: str | None,
    quantity: int,
    unit: str,
    period: dict[str, int],
    parent: Document,
    pricing: Document | None,
    amount: int | None = None,
    **members: Any,
) -> Document:
    """One line; `amount` where it does not follow from quantity and unit."""
    made = documents.new_object(
        "line_item",
        "il",
        currency=currency,
        description=description,
        discount_amounts=[],
        discountable=True,
        discounts=[],
        invoice=invoice,
        parent=parent,
        period=period,
        pretax_credit_amounts=[],
        pricing=pricing,
        taxes=[],
        **members,
    )
    del made["created"]
    return measured(made, quantity, cents(quantity, unit) if amount is None else amount)


def measured(body: Document, quantity: int, amount: int) -> Document:
    """The line with another quantity."""
    body |= {"quantity": quantity, "quantity_decimal": str(quantity)}
    body |= {"amount": amount, "subtotal": amount}
    return body


def of_usage(
    db: Transaction, invoice: Document, subscription: Document, item: Document
) -> Document:
    """The line of a metered item. It stays in the invoice with 0 where nothing was used."""
    price = item["price"]
    product = db.get("product", price["product"])
    return line(
        invoice["id"],
        currency=price["currency"],
        description=product["name"],
        quantity=0,
        unit=price["unit_amount_decimal"],
        period={"start": invoice["period_start"], "end": invoice["period_end"]},
        parent={
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": None,
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
        },
        pricing=_pricing(price["unit_amount_decimal"], price["id"], price["product"]),
        _meter=price["recurring"]["meter"],
        _noun=product["unit_label"] or "unit",
        _product=product["name"],
    )


def of_item(invoice: str, item: Document) -> Document:
    """The line of an invoice item."""
    return line(
        invoice,
        currency=item["currency"],
        description=item["description"],
        quantity=item["quantity"],
        unit="0",
        amount=item["amount"],
        period=item["period"],
        parent={
            "type": "invoice_item_details",
            "invoice_item_details": {
                "invoice_item": item["id"],
                "proration": False,
                "proration_details": None,
                "subscription": None,
            },
            "subscription_item_details": None,
        },
        pricing=item["pricing"],
        metadata=item["metadata"],
    )


def is_of_item(body: Document, item: str) -> bool:
    """Whether that line was made of that invoice item."""
    details = body["parent"]["invoice_item_details"]
    return bool(details and details["invoice_item"] == item)


def _pricing(unit: str, price: str, product: str) -> Document:
    return {
        "type": "price_details",
        "price_details": {"price": price, "product": product},
        "unit_amount_decimal": unit,
    }


def measure(db: Transaction, invoice: Document) -> None:
    """Read the meters again: a draft takes in what was used in its period and came late."""
    for each in invoice["lines"]["data"]:
        if "_meter" not in each:
            continue
        period, unit = each["period"], each["pricing"]["unit_amount_decimal"]
        count = usage.quantity(
            db, each["_meter"], invoice["customer"], period["start"], period["end"]
        )
        measured(each, count, cents(count, unit))
        dollars = format((Decimal(unit) / 100).normalize(), "f")
        noun = each["_noun"]
        each["description"] = f"{count} {noun} × {each['_product']} (at ${dollars} / {noun})"
    total = sum(each["amount"] for each in invoice["lines"]["data"])
    invoice |= {"subtotal": total, "total": total}
    invoice |= {"subtotal_excluding_tax": total, "total_excluding_tax": total}
    _ask_for(invoice, max(total, 0))


def _ask_for(invoice: Document, due: int) -> None:
    invoice |= {"amount_due": due, "amount_remaining": due - invoice["amount_paid"]}
