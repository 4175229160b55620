"""Customers, and the credit on their balances."""

import stripe

from billing.gateway.client import calling
from billing.gateway.conversions import metadata_of
from billing.gateway.creating import find_or_create
from billing.gateway.errors import StripeRefused


def create(*, reference: str, name: str, email: str) -> str:
    """The organization's customer; of one reference and address there is one. Returns its id.

    Where another member with another address tries again after a fault, Stripe may keep a second
    customer that nobody uses.
    """

    def find() -> stripe.Customer | None:
        with calling() as client:
            same = client.v1.customers.list({"email": email, "limit": 100}).auto_paging_iter()
            ours = (c for c in same if metadata_of(c.metadata).get("organization") == reference)
            return next(ours, None)

    customer, _ = find_or_create(
        f"customer:{reference}",
        find=find,
        create=lambda client, options: client.v1.customers.create(
            {"name": name, "email": email, "metadata": {"organization": reference}}, options
        ),
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


def find_credit(customer_id: str, reference: str) -> str | None:
    """The id of the credit on the customer's balance that was given for the reference.

    Raises:
        StripeRefused: the customer does not exist (any more).
    """
    entry = _credit(customer_id, reference)
    return entry.id if entry else None


def _credit(customer_id: str, reference: str) -> stripe.CustomerBalanceTransaction | None:
    with calling() as client:
        page = client.v1.customers.balance_transactions.list(customer_id, {"limit": 100})
        entries = page.auto_paging_iter()
        ours = (e for e in entries if metadata_of(e.metadata).get("refund") == reference)
        return next(ours, None)


def give_credit(*, customer_id: str, cents: int, description: str, reference: str) -> str:
    """Lower the customer's next invoice by that much, once for a reference. Returns the entry's id."""
    entry, _ = find_or_create(
        f"refund:{reference}",
        find=lambda: _credit(customer_id, reference),
        create=lambda client, options: client.v1.customers.balance_transactions.create(
            customer_id,
            {
                # Below zero is what we owe the customer.
                "amount": -cents,
                "currency": "usd",
                "description": description,
                "metadata": {"refund": reference},
            },
            options,
        ),
        again=False,
    )
    return entry.id
