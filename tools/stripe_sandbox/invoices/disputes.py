"""What a cardholder's bank does to a charge: it warns, it takes the money back, it decides."""

from tools.stripe_sandbox.invoices import balance_transactions
from tools.stripe_sandbox.state import clock, documents, events
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused
from tools.stripe_sandbox.state.store import Document, Transaction

DAYS_TO_ANSWER = 9


def retrieve(call: Call) -> Document:
    return call.db.get("dispute", call.args["id"])


def listed(call: Call) -> Document:
    where = {name: call.params.get(name) for name in ("charge", "payment_intent")}
    return documents.page(call.db, "dispute", call.params, "/v1/disputes", **where)


def retrieve_warning(call: Call) -> Document:
    return call.db.get("radar.early_fraud_warning", call.args["id"])


def open_dispute(db: Transaction, charge: Document) -> Document:
    """The cardholder says that the charge was not theirs. The money and a fee are gone until the bank decides.

    Raises:
        Refused: nothing was charged, all of it was given back, or it is disputed already.
    """
    if charge["status"] != "succeeded" or charge["disputed"] or charge["refunded"]:
        raise Refused("Only a paid charge can be disputed, and only once.")
    dispute = documents.new_object(
        "dispute",
        "du",
        amount=charge["amount"] - charge["amount_refunded"],
        balance_transactions=[],
        charge=charge["id"],
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        evidence={},
        evidence_details={
            "due_by": clock.now() + DAYS_TO_ANSWER * 86_400,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        is_charge_refundable=False,
        payment_intent=charge["payment_intent"],
        reason="fraudulent",
        status="needs_response",
    )
    db.save({**charge, "disputed": True})
    _move(db, dispute, -dispute["amount"], fee=balance_transactions.DISPUTE_FEE_CENTS)
    db.add(dispute, dispute["created"])
    events.emit(db, "charge.dispute.created", dispute)
    events.emit(db, "charge.dispute.funds_withdrawn", dispute)
    return dispute


def _move(db: Transaction, dispute: Document, amount: int, *, fee: int = 0) -> None:
    """Money of the dispute that goes, or comes back."""
    category = "dispute" if amount < 0 else "dispute_reversal"
    booked = balance_transactions.book(
        db, dispute, "adjustment", amount, fee=fee, category=category
    )
    dispute["balance_transactions"].append(booked)


def close(db: Transaction, dispute: Document, status: str) -> Document:
    """The bank decides: `won` or `lost`. What was won comes back, the fee does not.

    Raises:
        Refused: it has decided before, or the word is another.
    """
    if status not in {"won", "lost"}:
        raise Refused("A dispute is closed as won or lost.", param="status")
    if dispute["status"] in {"won", "lost"}:
        raise Refused("This dispute is already closed.")
    dispute["status"] = status
    if status == "won":
        _move(db, dispute, dispute["amount"])
    events.emit(db, "charge.dispute.closed", db.save(dispute))
    if status == "won":
        events.emit(db, "charge.dispute.funds_reinstated", dispute)
    return dispute


def warn(db: Transaction, charge: Document) -> Document:
    """The bank suspects fraud; a refund now may spare a dispute."""
    warning = documents.new_object(
        "radar.early_fraud_warning",
        "issfr",
        actionable=not charge["refunded"],
        charge=charge["id"],
        fraud_type="made_with_stolen_card",
        payment_intent=charge["payment_intent"],
    )
    del warning["metadata"]
    db.add(warning, warning["created"])
    events.emit(db, "radar.early_fraud_warning.created", warning)
    return warning
