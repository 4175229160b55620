"""What each movement of money does to the balance of the account that sells: gross, fee and net."""

from decimal import ROUND_HALF_UP, Decimal

from tools.stripe_sandbox.state import clock, documents
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.store import Document, Transaction

# Stripe's list price for a card of the United States, and for a dispute.
FEE_SHARE = Decimal("0.029")
FEE_CENTS = 30
DISPUTE_FEE_CENTS = 1_500
SETTLING_SECONDS = 2 * 86_400


def charge_fee(amount: int) -> int:
    """In cents, rounded half up."""
    return int((amount * FEE_SHARE + FEE_CENTS).quantize(Decimal(1), ROUND_HALF_UP))


def book(
    db: Transaction, source: Document, kind: str, amount: int, *, fee: int = 0, category: str = ""
) -> Document:
    """Keep that so many cents came, or with a minus went; `fee` is what Stripe takes beside them."""
    fees = [
        {
            "amount": fee,
            "application": None,
            "currency": source["currency"],
            "description": "Dispute fee" if kind == "adjustment" else "Stripe processing fees",
            "type": "stripe_fee",
        }
    ]
    made = documents.new_object(
        "balance_transaction",
        "txn",
        amount=amount,
        available_on=clock.now() + SETTLING_SECONDS,
        balance_type="payments",
        currency=source["currency"],
        description=source.get("description"),
        exchange_rate=None,
        fee=fee,
        fee_details=fees if fee else [],
        net=amount - fee,
        reporting_category=category or kind,
        source=source["id"],
        status="pending",
        type=kind,
    )
    del made["metadata"]
    return db.add(made, made["created"])


def current(body: Document) -> Document:
    """As it is now: the money can be paid out some days later."""
    settled = body["available_on"] <= clock.now()
    return body | {"status": "available" if settled else "pending"}


def retrieve(call: Call) -> Document:
    return current(call.db.get("balance_transaction", call.args["id"]))


def listed(call: Call) -> Document:
    where = {name: call.params.get(name) for name in ("currency", "source", "type")}
    kind = "balance_transaction"
    found = documents.page(call.db, kind, call.params, "/v1/balance_transactions", **where)
    found["data"] = [current(each) for each in found["data"]]
    return found
