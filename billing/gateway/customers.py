"""Customers, and the credit on their balances."""

from billing.gateway.client import calling
from billing.gateway.conversions import metadata_of
from billing.gateway.errors import StripeRefused


def create(*, reference: str, name: str, email: str) -> str:
    """The organization's customer; asked twice with one reference, Stripe makes one. Returns its id."""
    with calling() as client:
        customer = client.v1.customers.create(
            {"name": name, "email": email, "metadata": {"organization": reference}},
            {"idempotency_key": f"customer:{reference}"},
        )
    return customer.id


def exists(customer_id: str) -> bool:
    """Whether Stripe has the customer; a deleted one it has not."""
    try:
        with calling() as client:
            customer = client.v1.customers.retrieve(customer_id)
    except StripeRefused as refusal:
        if refusal.is_missing:
            return False
        raise
    return not getattr(customer, "deleted", False)


def give_credit(*, customer_id: str, cents: int, description: str, reference: str, key: str) -> str:
    """Lower the customer's next invoice by that much, once for a reference. Returns the entry's id.

    Looked for first: an idempotency key lasts a day, and a refund may wait for longer.
    """
    with calling() as client:
        newest = client.v1.customers.balance_transactions.list(customer_id, {"limit": 100}).data
    for made in newest:
        if metadata_of(made.metadata).get("refund") == reference:
            return made.id
    with calling() as client:
        made = client.v1.customers.balance_transactions.create(
            customer_id,
            {
                # Below zero is what we owe the customer.
                "amount": -cents,
                "currency": "usd",
                "description": description,
                "metadata": {"refund": reference},
            },
            {"idempotency_key": key},
        )
    return made.id
