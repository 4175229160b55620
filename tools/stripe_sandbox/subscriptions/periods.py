"""Billing periods: how one ends, how the next begins, and how a subscription ends."""

import time

from tools.stripe_sandbox.invoices import invoices
from tools.stripe_sandbox.state import clock, events
from tools.stripe_sandbox.state.store import Document, Transaction


def span(subscription: Document) -> tuple[int, int]:
    """The current period; all items of a subscription share it here."""
    item = subscription["items"]["data"][0]
    return item["current_period_start"], item["current_period_end"]


def next_end(subscription: Document, start: int) -> int:
    """The end of a period that starts there, counted from the anchor, so that a 31st comes back after February."""
    recurring = subscription["items"]["data"][0]["price"]["recurring"]
    anchor, steps = subscription["billing_cycle_anchor"], 1
    while True:
        end = clock.later(anchor, recurring["interval"], recurring["interval_count"] * steps)
        if end > start:
            return end
        steps += 1


def end_period(db: Transaction, subscription: Document, at: int) -> Document:
    """The invoice of the period that ends then; the next begins, or the subscription ends as it was told to."""
    start, _ = span(subscription)
    invoice = invoices.draft_for_period(
        db, subscription, start=start, end=at, reason="subscription_cycle"
    )
    subscription["latest_invoice"] = invoice["id"]
    if subscription["cancel_at_period_end"]:
        end_subscription(db, subscription)
        return invoice
    end = next_end(subscription, at)
    for item in subscription["items"]["data"]:
        item |= {"current_period_start": at, "current_period_end": end}
    db.save(subscription)
    events.emit(db, "customer.subscription.updated", subscription)
    return invoice


def end_period_early(db: Transaction, subscription: Document, at: int) -> Document:
    """End the period before its time: later periods are counted from here."""
    subscription["billing_cycle_anchor"] = at
    return end_period(db, subscription, at)


def end_subscription(db: Transaction, subscription: Document) -> None:
    """Cancel the subscription at once. Usage that was not billed is lost, and no open invoice is charged again.

    That Stripe stops collecting is in its page on canceling: "to prevent unexpected payment attempts".
    """
    now = clock.now()
    for invoice in db.find("invoice", customer=subscription["customer"], status="open"):
        invoices.advance_by_itself(invoice, wanted=False)
        db.save(invoice)
    subscription |= {"status": "canceled", "ended_at": now}
    subscription["canceled_at"] = subscription["canceled_at"] or now
    db.save(subscription)
    events.emit(db, "customer.subscription.deleted", subscription)


def a_clean_end(db: Transaction, subscription: Document) -> int:
    """A second at which the period can end so that all usage until now is in it, and none that comes after."""
    last = db.rows(
        "SELECT MAX(timestamp) AS last FROM usage WHERE customer = ? AND timestamp <= ?",
        *(subscription["customer"], clock.now()),
    )[0]["last"]
    return max(clock.now(), (last or 0) + 1)


def wait_until(moment: int) -> None:
    """At most a second, in practice."""
    time.sleep(max(0.0, moment - clock.exact()))
