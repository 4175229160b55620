"""Money of a charge that goes back to the card."""

from tools.stripe_sandbox.invoices import balance_transactions
from tools.stripe_sandbox.state import documents, events
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused, absent
from tools.stripe_sandbox.state.store import Document


def create(call: Call) -> Document:
    """All that is left of a charge, or an `amount` of it in cents."""
    db, params = call.db, call.params
    charge = _charge(call)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    _check(charge, amount, left)
    _check_disputes(call, charge)
    refund = documents.new_object(
        "refund",
        "re",
        amount=amount,
        charge=charge["id"],
        currency=charge["currency"],
        destination_details={"type": "card", "card": {"type": "refund"}},
        payment_intent=charge["payment_intent"],
        reason=None,
        receipt_number=None,
        source_transfer_reversal=None,
        status="succeeded",
        transfer_reversal=None,
    )
    documents.update(refund, params, "reason", "metadata")
    booked = balance_transactions.book(db, refund, "refund", -amount)
    refund["balance_transaction"] = booked["id"]
    db.add(refund, refund["created"])
    charge["amount_refunded"] += amount
    charge["refunded"] = amount == left
    events.emit(db, "charge.refunded", db.save(charge))
    events.emit(db, "refund.created", refund)
    return refund


def _charge(call: Call) -> Document:
    """The charge that one of two parameters names."""
    params = call.params
    if "charge" in params:
        return call.db.get("charge", params["charge"], "charge")
    if "payment_intent" not in params:
        raise absent("charge")
    intent = call.db.get("payment_intent", params["payment_intent"], "payment_intent")
    return call.db.get("charge", intent["latest_charge"])


def _check(charge: Document, amount: int, left: int) -> None:
    """Whether so much can go back.

    Raises:
        Refused: nothing was paid, all of it went back, or less than that is left.
    """
    key = charge["id"]
    if charge["status"] != "succeeded":
        raise Refused(f"Charge {key} was not paid.", param="charge")
    if left == 0:
        raise Refused(f"Charge {key} has already been refunded.", code="charge_already_refunded")
    if not 0 < amount <= left:
        raise Refused(
            f"Refund amount (${amount / 100:,.2f}) must be greater than nothing, and no greater than the "
            f"unrefunded amount on the charge (${left / 100:,.2f}).",
            param="amount",
        )


def _check_disputes(call: Call, charge: Document) -> None:
    """Whether the cardholder's bank leaves the money to the seller.

    Raises:
        Refused: a dispute is open or lost.
    """
    if any(each["status"] != "won" for each in call.db.find("dispute", charge=charge["id"])):
        raise Refused(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.",
            code="charge_disputed",
            param="charge",
        )


def retrieve(call: Call) -> Document:
    return call.db.get("refund", call.args["id"])


def listed(call: Call) -> Document:
    where = {name: call.params.get(name) for name in ("charge", "payment_intent")}
    return documents.page(call.db, "refund", call.params, "/v1/refunds", **where)
