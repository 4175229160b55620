"""Checkout: a session of the API, and what its page does when somebody subscribes."""

from typing import Any
from urllib.parse import quote

from tools.stripe_sandbox import settings
from tools.stripe_sandbox.invoices import cards, subscription_status
from tools.stripe_sandbox.state import clock, documents, events
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused, absent
from tools.stripe_sandbox.state.store import Document, Transaction
from tools.stripe_sandbox.subscriptions import subscriptions

LIFETIME_SECONDS = 24 * 3600
# What the handler acts on, and then what only changes how Stripe's page looks.
KNOWN = (
    *("mode", "customer", "line_items", "client_reference_id", "subscription_data", "success_url"),
    *("cancel_url", "automatic_tax", "billing_address_collection", "tax_id_collection"),
    *("customer_update", "metadata", "expires_at"),
    *("locale", "custom_text", "submit_type", "branding_settings", "allowed_payment_method_types"),
    *("saved_payment_method_options", "payment_method_collection", "currency", "ui_mode"),
)


def create(call: Call) -> Document:
    params = call.params
    if params.get("mode") != "subscription":
        raise Refused("The sandbox knows `mode=subscription` only.", param="mode")
    for name in ("customer", "success_url", "line_items"):
        if name not in params:
            raise absent(name)
    customer = documents.existing(call.db, "customer", params["customer"], "customer")
    prices = subscriptions.check_prices(call.db, params["line_items"], "line_items")
    _check_customer_update(params, customer)
    return call.db.add(session := _session(call, customer, prices), session["created"])


def _check_customer_update(params: Document, customer: Document) -> None:
    """Stripe's rule: what Checkout collects of a customer who exists may be kept only with leave."""
    leave = params.get("customer_update", {})
    taxed = params.get("automatic_tax", {}).get("enabled")
    if taxed and leave.get("address") != "auto" and not customer["address"]:
        raise Refused(
            "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid "
            "address to the Customer or set `customer_update[address]` to 'auto' to save the address "
            "entered in Checkout to the Customer.",
            code="customer_tax_location_invalid",
            param="automatic_tax",
        )
    if params.get("tax_id_collection", {}).get("enabled") and leave.get("name") != "auto":
        raise Refused(
            "Tax ID collection requires updating business name on the customer. To enable tax ID "
            "collection for an existing customer, please set `customer_update[name]` to `auto`.",
            param="tax_id_collection",
        )


def _session(call: Call, customer: Document, prices: list[Document]) -> Document:
    params, now = call.params, clock.now()
    session = documents.new_object("checkout.session", "cs_test")
    key = session["id"]
    session |= {
        "amount_subtotal": 0,
        "amount_total": 0,
        "automatic_tax": {"enabled": False, **params.get("automatic_tax", {}), "status": None},
        "billing_address_collection": params.get("billing_address_collection"),
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "currency": prices[0]["currency"],
        "custom_fields": [],
        "customer": customer["id"],
        "customer_details": {"email": customer["email"], "name": None, "address": None},
        "customer_email": None,
        "expires_at": params.get("expires_at", now + LIFETIME_SECONDS),
        "invoice": None,
        "line_items": documents.listing(
            f"/v1/checkout/sessions/{key}/line_items", [_line_item(price) for price in prices]
        ),
        "locale": params.get("locale"),
        "mode": "subscription",
        "payment_intent": None,
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "setup_intent": None,
        "status": "open",
        "subscription": None,
        "success_url": params["success_url"],
        "tax_id_collection": {"enabled": False, **params.get("tax_id_collection", {})},
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": f"{settings.BASE_URL}/checkout/{key}",
        "_subscription_data": params.get("subscription_data", {}),
        "_customer_update": params.get("customer_update", {}),
    }
    return documents.update(session, params, "metadata")


def _line_item(price: Document) -> Document:
    return {
        "id": documents.new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": 0,
        "amount_tax": 0,
        "amount_total": 0,
        "currency": price["currency"],
        "description": price["nickname"],
        "price": price,
        "quantity": None,
    }


def retrieve(call: Call) -> Document:
    return call.db.get("checkout.session", call.args["id"])


def expire_now(call: Call) -> Document:
    session = retrieve(call)
    check_open(session)
    return expire(call.db, session)


def expire(db: Transaction, session: Document) -> Document:
    """Its page takes nothing any more."""
    session |= {"status": "expired", "url": None}
    events.emit(db, "checkout.session.expired", db.save(session))
    return session


def check_open(session: Document) -> None:
    """Only an open session can be completed or expire.

    Raises:
        Refused: it is neither.
    """
    if session["status"] != "open":
        raise Refused(
            f'Only Checkout Sessions with a status in ["open"] can be changed. This one is '
            f"{session['status']}.",
        )


def complete(
    db: Transaction, session: Document, *, card: str, details: dict[str, Any], later: str = ""
) -> Document:
    """What the page does: the card is attached, the subscription begins, the session is complete.

    Args:
        db: The transaction.
        session: An open one.
        card: Number or token of a test card.
        details: `name`, `address` and `tax_id`, as far as they were filled in.
        later: `succeeded` or `failed`, for a payment whose outcome comes after the session is complete.

    Raises:
        Refused: the card was declined; nothing is made then.
    """
    check_open(session)
    customer = documents.existing(db, "customer", session["customer"], "customer")
    attached = cards.attach_to(db, card, customer["id"])
    attached["billing_details"] |= {"name": details.get("name"), "address": details.get("address")}
    db.save(attached)
    _take_details(db, session, customer, details)
    prices = [item["price"] for item in session["line_items"]["data"]]
    subscription = subscriptions.begin(customer, prices, card=attached["id"])
    documents.update(subscription, session["_subscription_data"], "metadata", "description")
    subscription["automatic_tax"]["enabled"] = session["automatic_tax"]["enabled"]
    if later:
        subscription["status"] = "incomplete"
    subscription = subscriptions.start(db, subscription)
    session |= {
        "invoice": subscription["latest_invoice"],
        # Stripe's word for a payment that comes only with a later invoice.
        "payment_status": "unpaid" if later else "no_payment_required",
        "status": "complete",
        "subscription": subscription["id"],
        "url": None,
    }
    events.emit(db, "checkout.session.completed", db.save(session))
    if later:
        _hear_later(db, session, subscription, later)
    return session


def _take_details(
    db: Transaction, session: Document, customer: Document, details: dict[str, Any]
) -> None:
    session["customer_details"] |= {
        "name": details.get("name"),
        "address": details.get("address"),
        "tax_ids": [{"type": "unknown", "value": details["tax_id"]}]
        if details.get("tax_id")
        else [],
    }
    leave = session["_customer_update"]
    changed = {
        name: details[name]
        for name in ("name", "address")
        if leave.get(name) == "auto" and details.get(name)
    }
    if changed:
        events.emit(db, "customer.updated", db.save(customer | changed))


def _hear_later(db: Transaction, session: Document, subscription: Document, outcome: str) -> None:
    """The bank's answer to a payment that was not instant."""
    if outcome == "succeeded":
        subscription_status.set_status(db, subscription, "active")
        session["payment_status"] = "paid"
    else:
        subscription["ended_at"] = clock.now()
        subscription_status.set_status(db, subscription, "incomplete_expired")
    events.emit(db, f"checkout.session.async_payment_{outcome}", db.save(session))


def landing_address(session: Document) -> str:
    """Where the page sends whoever subscribed."""
    address: str = session["success_url"]
    return address.replace("{CHECKOUT_SESSION_ID}", quote(session["id"]))
