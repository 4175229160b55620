"""What a caller may do with an invoice: hold it, make it final, give it up or delete it."""

from tools.stripe_sandbox.invoices import balances, cards, invoices
from tools.stripe_sandbox.state import clock, documents, events
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused
from tools.stripe_sandbox.state.store import Document

UNFINISHED = frozenset({"draft", "open"})
# What no longer changes once an invoice is final.
OF_DRAFTS = frozenset({"description", "automatic_tax", "automatically_finalizes_at"})


def _check_status(invoice: Document, *allowed: str) -> None:
    """Only an invoice of those statuses can be changed in this way.

    Raises:
        Refused: it has another.
    """
    if invoice["status"] not in allowed:
        raise Refused(
            f"You can only pass in {' or '.join(allowed)} invoices. This invoice is "
            f"{invoice['status']}.",
            code="invoice_not_editable",
            param="id",
        )


def _addressed(call: Call) -> Document:
    return call.db.get("invoice", call.args["id"])


def update(call: Call) -> Document:
    """A draft without `auto_advance` waits for its caller; with it, its time counts from now again."""
    invoice, params = _addressed(call), call.params
    if invoice["status"] != "draft" and OF_DRAFTS & params.keys():
        raise Refused(
            "Finalized invoices can't be updated in this way.",
            code="invoice_not_editable",
            param=min(OF_DRAFTS & params.keys()),
        )
    if invoice["status"] not in UNFINISHED and params.keys() - {"metadata", "expand"}:
        raise Refused(
            "This invoice is no longer editable.", code="invoice_not_editable", param="id"
        )
    if key := params.get("default_payment_method"):
        cards.of_customer(call.db, key, invoice["customer"], "default_payment_method")
    documents.update(invoice, params, "description", "metadata", "default_payment_method")
    invoice["automatic_tax"] |= params.get("automatic_tax", {})
    if "auto_advance" in params:
        invoices.advance_by_itself(invoice, wanted=params["auto_advance"])
    if "automatically_finalizes_at" in params:
        invoices.schedule(invoice, params["automatically_finalizes_at"])
    return invoices.tell(call.db, invoice, "invoice.updated")


def finalize(call: Call) -> Document:
    """`auto_advance`, or else that of the invoice, tells whether it is collected at once."""
    invoice = _addressed(call)
    collects = bool(call.params.get("auto_advance", invoice["auto_advance"]))
    invoice["auto_advance"] = collects
    return invoices.finalize(call.db, invoice, collect=collects)


def void(call: Call) -> Document:
    """Nobody owes it any more, for good. What it took from the customer's balance goes back."""
    invoice = _addressed(call)
    _check_status(invoice, "open", "uncollectible")
    taken = invoice["ending_balance"] - invoice["starting_balance"]
    if taken:
        balances.book(
            call.db,
            call.db.get("customer", invoice["customer"]),
            -taken,
            kind="unapplied_from_invoice",
            currency=invoice["currency"],
            invoice=invoice["id"],
        )
    _stop(invoice, "void", "voided_at")
    return invoices.tell(call.db, invoice, "invoice.voided")


def mark_uncollectible(call: Call) -> Document:
    """Nobody is asked any more; it can still be paid or voided."""
    invoice = _addressed(call)
    _check_status(invoice, "open")
    _stop(invoice, "uncollectible", "marked_uncollectible_at")
    return invoices.tell(call.db, invoice, "invoice.marked_uncollectible")


def _stop(invoice: Document, status: str, transition: str) -> None:
    invoice |= {"status": status, "auto_advance": False, "next_payment_attempt": None}
    invoice["status_transitions"][transition] = clock.now()


def delete(call: Call) -> Document:
    """A one-off draft leaves nothing behind. What waited for an invoice before it waits again."""
    db, invoice = call.db, _addressed(call)
    if invoice["status"] != "draft" or invoice["parent"]:
        raise Refused(
            "You can only delete draft invoices that are not of a subscription.",
            code="invoice_not_editable",
            param="id",
        )
    for item in db.find("invoiceitem", invoice=invoice["id"]):
        if item["_waited"]:
            db.save(item | {"invoice": None, "_pending": True, "_waited": False})
        else:
            db.remove(item)
    db.remove(invoice)
    events.emit(db, "invoice.deleted", invoice)
    return {"id": invoice["id"], "object": "invoice", "deleted": True}
