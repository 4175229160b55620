"""The items of a subscription, one for each price."""

from tools.stripe_sandbox.invoices import subscription_status
from tools.stripe_sandbox.state import documents, events
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused, missing
from tools.stripe_sandbox.state.store import Document, Transaction
from tools.stripe_sandbox.subscriptions import periods, subscriptions


def create(call: Call) -> Document:
    """One more price, for the current period too."""
    db, params = call.db, call.params
    subscription = db.get("subscription", params["subscription"], "subscription")
    if subscription["status"] in subscription_status.ENDED:
        raise Refused("This subscription is canceled.", param="subscription")
    items = subscription["items"]["data"]
    given: Document = {name: params[name] for name in ("price", "quantity") if name in params}
    if len(items) >= subscriptions.MOST_ITEMS:
        raise Refused(
            f"A subscription can have at most {subscriptions.MOST_ITEMS} items.",
            code="subscription_items_limit",
        )
    price = subscriptions.check_price(db, given, "", [item["price"] for item in items])
    start, end = periods.span(subscription)
    item = subscriptions.add_item(subscription, price, params.get("metadata") or {}, start, end)
    db.save(subscription)
    events.emit(db, "customer.subscription.updated", subscription)
    return item


def find(db: Transaction, key: str) -> tuple[Document, Document]:
    """An item, and the subscription that it is part of."""
    for subscription in db.find("subscription"):
        for item in subscription["items"]["data"]:
            if item["id"] == key:
                return item, subscription
    raise missing("subscription_item", key)


def listed(call: Call) -> Document:
    key = call.params["subscription"]
    items = call.db.get("subscription", key, "subscription")["items"]["data"]
    return documents.page_of_parts(items, call.params, "/v1/subscription_items")


def delete(call: Call) -> Document:
    """What was used in the current period at its price is in no invoice any more."""
    item, subscription = find(call.db, call.args["id"])
    items = subscription["items"]["data"]
    if len(items) == 1:
        raise Refused(
            "A subscription must have at least one active plan. In order to cancel a subscription, please "
            "use the cancel API endpoint.",
        )
    subscription["items"]["data"] = [each for each in items if each["id"] != item["id"]]
    call.db.save(subscription)
    events.emit(call.db, "customer.subscription.updated", subscription)
    return {"id": item["id"], "object": "subscription_item", "deleted": True}
