"""The status of a subscription, and how money moves it."""

from tools.stripe_sandbox.state import events
from tools.stripe_sandbox.state.store import Document, Transaction

ENDED = frozenset({"canceled", "incomplete_expired"})


def set_status(db: Transaction, subscription: Document, status: str) -> None:
    """Keep a new status, and tell of it."""
    if subscription["status"] == status:
        return
    subscription["status"] = status
    db.save(subscription)
    events.emit(db, "customer.subscription.updated", subscription)


def of_invoice(db: Transaction, invoice: Document) -> Document | None:
    """The subscription that an invoice bills, if it still runs."""
    parent = invoice["parent"]
    if parent is None:
        return None
    subscription = db.get("subscription", parent["subscription_details"]["subscription"])
    return None if subscription["status"] in ENDED else subscription


def payment_failed(db: Transaction, invoice: Document) -> None:
    """An active subscription is past due from the first failed payment on."""
    subscription = of_invoice(db, invoice)
    if subscription and subscription["status"] in {"active", "trialing"}:
        set_status(db, subscription, "past_due")


def payment_succeeded(db: Transaction, invoice: Document) -> None:
    """Stripe's rule: the newest finalized invoice decides, whatever older ones are still open."""
    subscription = of_invoice(db, invoice)
    if subscription is None or subscription["status"] not in {"past_due", "unpaid"}:
        return
    of_it = {"parent.subscription_details.subscription": subscription["id"]}
    final = [each for each in db.find("invoice", **of_it) if each["status"] != "draft"]
    if final[0]["id"] == invoice["id"]:
        set_status(db, subscription, "active")
