"""How an invoice is charged; charges, payment intents and refunds."""

from tools.stripe_sandbox.invoices import balance_transactions, subscription_status
from tools.stripe_sandbox.state import clock, documents, events
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.store import Document, Transaction

RETRY_SECONDS = 3 * 86_400


def attempt(
    db: Transaction, invoice: Document, *, card: Document | None = None, present: bool = False
) -> str:
    """Try to collect what is due, with this card or the one on file.

    Args:
        db: The transaction.
        invoice: An open one.
        card: The card to charge.
        present: Whether the card's owner is there to confirm.

    Returns:
        Nothing, or the code with which the card was declined.
    """
    card = card or card_on_file(db, invoice)
    conduct = card["_conduct"] if card else "fails"
    invoice["attempted"] = True
    invoice["attempt_count"] += 1
    if card and (conduct == "pays" or (conduct == "asks" and present)):
        charge = _charge(db, invoice, card, "")
        _mark_paid(db, invoice, charge)
        return ""
    again = clock.now() + RETRY_SECONDS if invoice["auto_advance"] else None
    invoice["next_payment_attempt"] = again
    if conduct == "asks":
        code = "authentication_required"
        events.emit(db, "invoice.payment_action_required", db.save(invoice))
    else:
        code = "card_declined"
        if card:
            _charge(db, invoice, card, code)
        events.emit(db, "invoice.payment_failed", db.save(invoice))
    subscription_status.payment_failed(db, invoice)
    return code


def card_on_file(db: Transaction, invoice: Document) -> Document | None:
    """The default card of the invoice, else of its subscription, else of the customer, unless deleted."""
    customer = db.get("customer", invoice["customer"])
    if customer["_deleted"]:
        return None
    keys = [invoice["default_payment_method"]]
    if parent := invoice["parent"]:
        key = parent["subscription_details"]["subscription"]
        keys.append(db.get("subscription", key)["default_payment_method"])
    keys.append(customer["invoice_settings"]["default_payment_method"])
    chosen = next(filter(None, keys), None)
    return db.get("payment_method", chosen) if chosen else None


def settle_without_charge(db: Transaction, invoice: Document) -> None:
    """Nothing is due, or it was paid elsewhere."""
    _mark_paid(db, invoice, None)


def _mark_paid(db: Transaction, invoice: Document, charge: Document | None) -> None:
    invoice["status"] = "paid"
    invoice["status_transitions"]["paid_at"] = clock.now()
    invoice |= {"amount_paid": invoice["amount_due"], "amount_remaining": 0}
    invoice |= {"next_payment_attempt": None, "attempted": True}
    if charge:
        payment = documents.new_object(
            "invoice_payment",
            "inpay",
            amount_paid=charge["amount"],
            amount_requested=charge["amount"],
            currency=charge["currency"],
            invoice=invoice["id"],
            is_default=True,
            payment={"type": "payment_intent", "payment_intent": charge["payment_intent"]},
            status="paid",
            status_transitions={"canceled_at": None, "paid_at": clock.now()},
        )
        invoice["payments"]["data"].append(db.add(payment, payment["created"]))
    db.save(invoice)
    events.emit(db, "invoice.paid", invoice)
    subscription_status.payment_succeeded(db, invoice)


def _charge(db: Transaction, invoice: Document, card: Document, failure: str) -> Document:
    """A charge and its payment intent, which were paid or declined."""
    amount, currency = invoice["amount_remaining"], invoice["currency"]
    intent = documents.new_object(
        "payment_intent",
        "pi",
        amount=amount,
        amount_received=0 if failure else amount,
        currency=currency,
        customer=invoice["customer"],
        payment_method=card["id"],
        status="requires_payment_method" if failure else "succeeded",
    )
    charge = documents.new_object(
        "charge",
        "ch",
        amount=amount,
        amount_captured=0 if failure else amount,
        amount_refunded=0,
        balance_transaction=None,
        billing_details=card["billing_details"],
        captured=not failure,
        currency=currency,
        customer=invoice["customer"],
        description=f"Invoice {invoice['number']}",
        disputed=False,
        failure_code=failure or None,
        failure_message="Your card was declined." if failure else None,
        paid=not failure,
        payment_intent=intent["id"],
        payment_method=card["id"],
        payment_method_details={"type": "card", "card": card["card"]},
        receipt_url=invoice["hosted_invoice_url"],
        refunded=False,
        status="failed" if failure else "succeeded",
        _invoice=invoice["id"],
    )
    intent["latest_charge"] = charge["id"]
    if not failure:
        fee = balance_transactions.charge_fee(amount)
        booked = balance_transactions.book(db, charge, "charge", amount, fee=fee)
        charge["balance_transaction"] = booked["id"]
    db.add(intent, intent["created"])
    db.add(charge, charge["created"])
    events.emit(db, f"charge.{charge['status']}", charge)
    return charge


def retrieve_charge(call: Call) -> Document:
    return call.db.get("charge", call.args["id"])


def list_charges(call: Call) -> Document:
    names = ("customer", "payment_intent")
    where = {name: call.params.get(name) for name in names}
    return documents.page(call.db, "charge", call.params, "/v1/charges", **where)


def retrieve_intent(call: Call) -> Document:
    return call.db.get("payment_intent", call.args["id"])


def list_of_invoice(call: Call) -> Document:
    """What paid which invoice."""
    params = call.params
    where = {
        "invoice": params.get("invoice"),
        "payment.payment_intent": params.get("payment", {}).get("payment_intent"),
        "status": params.get("status"),
    }
    return documents.page(call.db, "invoice_payment", params, "/v1/invoice_payments", **where)
