"""Subscriptions to metered prices. A subscription has no period of its own: its items have."""

from typing import Any

from tools.stripe_sandbox.invoices import cards, invoices, subscription_status
from tools.stripe_sandbox.state import clock, documents, events
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused, absent
from tools.stripe_sandbox.state.store import Document, Transaction
from tools.stripe_sandbox.subscriptions import periods

MOST_ITEMS = 20


def create(call: Call) -> Document:
    """It begins with a paid invoice of nothing, as all metered ones do."""
    params = call.params
    if "customer" not in params:
        raise absent("customer")
    customer = documents.existing(call.db, "customer", params["customer"], "customer")
    card = params.get("default_payment_method")
    if card:
        cards.of_customer(call.db, card, customer["id"], "default_payment_method")
    prices = check_prices(call.db, params.get("items", []), "items")
    subscription = begin(customer, prices, card=card, items=params["items"])
    names = ("metadata", "cancel_at_period_end", "description")
    documents.update(subscription, params, *names)
    subscription["automatic_tax"] |= params.get("automatic_tax", {})
    return start(call.db, subscription)


def check_prices(db: Transaction, items: list[Document], param: str) -> list[Document]:
    """The prices that a list of items names.

    Raises:
        Refused: there are none or too many, one is given twice or cannot be sold, or has a quantity.
    """
    if not items:
        raise absent(param)
    if len(items) > MOST_ITEMS:
        raise Refused(
            f"A subscription can have at most {MOST_ITEMS} items.",
            code="subscription_items_limit",
            param=param,
        )
    prices: list[Document] = []
    for index, item in enumerate(items):
        prices.append(check_price(db, item, f"{param}[{index}]", prices))
    return prices


def check_price(db: Transaction, item: Document, param: str, others: list[Document]) -> Document:
    """The price of one item, which must be metered and come without a quantity."""

    def name(member: str) -> str:
        return f"{param}[{member}]" if param else member

    if "price" not in item:
        raise absent(name("price"))
    price = db.get("price", item["price"], name("price"))
    if not price["active"]:
        raise Refused(
            "The price specified is inactive. This field only accepts active prices.",
            param=name("price"),
        )
    recurring = price["recurring"] or {}
    if recurring.get("usage_type") != "metered":
        raise Refused("The sandbox bills metered prices only.", param=name("price"))
    if "quantity" in item:
        raise Refused(
            f"Quantity should not be specified where usage_type is `metered`. Remove `{name('quantity')}`.",
            param=name("quantity"),
        )
    if any(other["id"] == price["id"] for other in others):
        raise Refused(
            f"Cannot add multiple subscription items with the same price: {price['id']}.",
            param=name("price"),
        )
    if others and others[0]["recurring"]["interval"] != recurring["interval"]:
        raise Refused(
            "All prices of a subscription have the same interval in the sandbox.",
            param=name("price"),
        )
    return price


def begin(
    customer: Document,
    prices: list[Document],
    *,
    card: str | None,
    items: list[Document] | None = None,
) -> Document:
    """A new subscription, not yet kept."""
    now = clock.now()
    subscription = documents.new_object("subscription", "sub")
    subscription |= {
        "application": None,
        "automatic_tax": {"enabled": False, "liability": None, "disabled_reason": None},
        "billing_cycle_anchor": now,
        "billing_mode": {"type": "flexible", "flexible": None},
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "currency": prices[0]["currency"],
        "customer": customer["id"],
        "default_payment_method": card,
        "description": None,
        "discounts": [],
        "ended_at": None,
        "items": documents.listing(f"/v1/subscription_items?subscription={subscription['id']}", []),
        "latest_invoice": None,
        "pause_collection": None,
        "pending_setup_intent": None,
        "schedule": None,
        "start_date": now,
        "status": "active",
        "trial_end": None,
        "trial_start": None,
    }
    for price, given in zip(prices, items or [{}] * len(prices), strict=True):
        add_item(subscription, price, given.get("metadata") or {}, now, 0)
    end = periods.next_end(subscription, now)
    for item in subscription["items"]["data"]:
        item["current_period_end"] = end
    return subscription


def add_item(
    subscription: Document, price: Document, metadata: dict[str, Any], start: int, end: int
) -> Document:
    """One more item, which shares the period of the others."""
    item = documents.new_object(
        "subscription_item",
        "si",
        billing_thresholds=None,
        current_period_end=end,
        current_period_start=start,
        discounts=[],
        price=price,
        subscription=subscription["id"],
        tax_rates=[],
    )
    item["metadata"] = metadata
    subscription["items"]["data"].append(item)
    return item


def start(db: Transaction, subscription: Document) -> Document:
    """Keep a new subscription, tell of it, and bill the nothing that was used so far."""
    db.add(subscription, subscription["created"])
    events.emit(db, "customer.subscription.created", subscription)
    now = subscription["start_date"]
    invoice = invoices.draft_for_period(
        db, subscription, start=now, end=now, reason="subscription_create"
    )
    subscription["latest_invoice"] = invoice["id"]
    db.save(subscription)
    invoices.finalize(db, invoice, collect=True)
    return db.get("subscription", subscription["id"])


def retrieve(call: Call) -> Document:
    return call.db.get("subscription", call.args["id"])


def listed(call: Call) -> Document:
    """Subscriptions of the wanted status; without one, those that have not ended."""
    wanted: dict[str | None, list[str] | None] = {
        None: ["incomplete", "trialing", "active", "past_due", "unpaid", "paused"],
        "all": None,
        "ended": ["canceled", "incomplete_expired"],
    }
    status = call.params.get("status")
    where = {
        "customer": call.params.get("customer"),
        "status": wanted.get(status, [status]),
    }
    return documents.page(call.db, "subscription", call.params, "/v1/subscriptions", **where)


def _running(call: Call) -> Document:
    """The one in the address; one that has ended cannot be changed."""
    subscription = retrieve(call)
    if subscription["status"] in subscription_status.ENDED:
        raise Refused(
            "A canceled subscription can only update its cancellation_details and metadata.",
            param="id",
        )
    return subscription


def update(call: Call) -> Document:
    subscription = _running(call)
    if card := call.params.get("default_payment_method"):
        cards.of_customer(call.db, card, subscription["customer"], "default_payment_method")
    names = ("metadata", "default_payment_method", "description", "cancel_at_period_end")
    documents.update(subscription, call.params, *names)
    if "cancel_at_period_end" in call.params:
        cancel_at_end(subscription, wanted=call.params["cancel_at_period_end"])
    _take_reasons(call, subscription)
    call.db.save(subscription)
    events.emit(call.db, "customer.subscription.updated", subscription)
    return subscription


def cancel_at_end(subscription: Document, *, wanted: bool) -> None:
    """Let it end with its period, or not."""
    subscription["cancel_at_period_end"] = wanted
    subscription["cancel_at"] = periods.span(subscription)[1] if wanted else None
    subscription["canceled_at"] = clock.now() if wanted else None
    reason = "cancellation_requested" if wanted else None
    subscription["cancellation_details"]["reason"] = reason


def _take_reasons(call: Call, subscription: Document) -> None:
    given = call.params.get("cancellation_details", {})
    documents.update(subscription["cancellation_details"], given, *given)


def cancel(call: Call) -> Document:
    """At once. Without `invoice_now` nobody will ever be billed for what was used in this period."""
    subscription = retrieve(call)
    if subscription["status"] in subscription_status.ENDED:
        raise Refused(
            f"No such subscription: '{subscription['id']}'",
            code="resource_missing",
            param="id",
            status=404,
        )
    _take_reasons(call, subscription)
    subscription["cancellation_details"]["reason"] = "cancellation_requested"
    if call.params.get("invoice_now"):
        invoice = invoices.draft_for_period(
            call.db,
            subscription,
            start=periods.span(subscription)[0],
            # No period follows, so what is used in this very second belongs to this one.
            end=clock.now() + 1,
            reason="subscription_cycle",
        )
        subscription["latest_invoice"] = invoice["id"]
    periods.end_subscription(call.db, subscription)
    return subscription
