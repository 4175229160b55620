"""What a person or a test may make happen out of turn, by the address below /sandbox/ that does it."""

from collections.abc import Callable

from tools.stripe_sandbox.invoices import disputes, invoices, payments, subscription_status
from tools.stripe_sandbox.state import documents, events
from tools.stripe_sandbox.state.errors import Refused
from tools.stripe_sandbox.state.store import Document, store
from tools.stripe_sandbox.subscriptions import periods


def end_period(key: str, _given: Document) -> Document:
    """The current period ends with this second: what was used so far is in its invoice, what comes is not."""
    with store().transaction() as db:
        at = periods.a_clean_end(db, _running(db.get("subscription", key)))
    periods.wait_until(at)
    with store().transaction() as db:
        subscription = _running(db.get("subscription", key))
        return periods.end_period_early(db, subscription, at)


def _running(subscription: Document) -> Document:
    if subscription["status"] in subscription_status.ENDED:
        raise Refused("This subscription has ended.")
    return subscription


def give_up(key: str, _given: Document) -> Document:
    """Do what follows the last retry: nothing is charged any more, and the subscription is unpaid."""
    with store().transaction() as db:
        subscription = _running(db.get("subscription", key))
        if subscription["status"] != "past_due":
            raise Refused("Only a subscription that is past due can be given up.")
        for invoice in db.find("invoice", customer=subscription["customer"], status="open"):
            invoices.advance_by_itself(invoice, wanted=False)
            db.save(invoice)
        subscription_status.set_status(db, subscription, "unpaid")
        return subscription


def pause(key: str, _given: Document) -> Document:
    """Pause the subscription, as Stripe does at the end of a trial without a card."""
    return _set_status(key, "paused", "paused")


def resume(key: str, _given: Document) -> Document:
    """Make a paused subscription active."""
    return _set_status(key, "active", "resumed")


def _set_status(key: str, status: str, event: str) -> Document:
    with store().transaction() as db:
        subscription = _running(db.get("subscription", key)) | {"status": status}
        events.emit(db, f"customer.subscription.{event}", db.save(subscription))
        return subscription


def fail_to_finalize(key: str, _given: Document) -> Document:
    """The invoice stays a draft, as where the address does not tell which tax is due."""
    with store().transaction() as db:
        invoice = db.get("invoice", key)
        if invoice["status"] != "draft":
            raise Refused(f"This invoice is {invoice['status']}.")
        error = {"code": "customer_tax_location_invalid", "type": "invalid_request_error"}
        invoice["last_finalization_error"] = error
        invoices.advance_by_itself(invoice, wanted=False)
        events.emit(db, "invoice.finalization_failed", db.save(invoice))
        return invoice


def finalize(key: str, _given: Document) -> Document:
    """The draft becomes final and is charged, before its time."""
    with store().transaction() as db:
        return invoices.finalize(db, db.get("invoice", key), collect=True)


def retry_payment(key: str, _given: Document) -> Document:
    """Charge the card on file once more, without its owner."""
    with store().transaction() as db:
        invoice = db.get("invoice", key)
        if invoice["status"] != "open":
            raise Refused(f"This invoice is {invoice['status']}.")
        payments.attempt(db, invoice)
        return invoice


def dispute(key: str, _given: Document) -> Document:
    """The cardholder's bank takes the money back until it has decided."""
    with store().transaction() as db:
        return disputes.open_dispute(db, db.get("charge", key))


def warn_of_fraud(key: str, _given: Document) -> Document:
    """The bank suspects fraud and says so early."""
    with store().transaction() as db:
        return disputes.warn(db, db.get("charge", key))


def close_dispute(key: str, given: Document) -> Document:
    """The bank decides; `status` is won or lost."""
    with store().transaction() as db:
        return disputes.close(db, db.get("dispute", key), given.get("status", ""))


ACTIONS: dict[str, Callable[[str, Document], Document]] = {
    "subscriptions/end-period": end_period,
    "subscriptions/give-up": give_up,
    "subscriptions/pause": pause,
    "subscriptions/resume": resume,
    "invoices/finalize": finalize,
    "invoices/fail-finalization": fail_to_finalize,
    "invoices/retry-payment": retry_payment,
    "charges/dispute": dispute,
    "charges/fraud-warning": warn_of_fraud,
    "disputes/close": close_dispute,
}


def act(noun: str, key: str, verb: str, given: Document) -> Document:
    """Make it happen.

    Raises:
        Refused: there is no such action or object, or it cannot happen now.
    """
    action = ACTIONS.get(f"{noun}/{verb}")
    if action is None:
        raise Refused(f"No such action: {noun}/{verb}. There are {', '.join(ACTIONS)}.", status=404)
    found: Document = documents.shown(action(key, given))
    return found
