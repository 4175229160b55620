"""What a customer has in credit, or owes, beside the invoices."""

from tools.stripe_sandbox.state import documents
from tools.stripe_sandbox.state.store import Document, Transaction


def book(
    db: Transaction, customer: Document, amount: int, *, kind: str, currency: str, **members: object
) -> Document:
    """Change a customer's balance by that many cents, and keep why."""
    customer["balance"] += amount
    customer["currency"] = customer["currency"] or currency
    db.save(customer)
    transaction = documents.new_object(
        "customer_balance_transaction",
        "cbtxn",
        amount=amount,
        credit_note=None,
        currency=currency,
        customer=customer["id"],
        ending_balance=customer["balance"],
        type=kind,
        **{"description": None, "invoice": None, **members},
    )
    return db.add(transaction, transaction["created"])
