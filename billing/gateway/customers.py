"""Customers, and the credit on their balances."""

from dataclasses import dataclass
from datetime import timedelta

import stripe

from billing.gateway import creating
from billing.gateway.client import calling
from billing.gateway.conversions import metadata_of
from billing.gateway.creating import find_or_create
from billing.gateway.errors import StripeRefused

CLOCKS_DIFFER = timedelta(minutes=10)


@dataclass(frozen=True)
class Customer:
    """A customer; `email` is empty until somebody has given one."""

    id: str
    email: str


def create(*, reference: str) -> str:
    """The organization's customer, of which there is one. Returns its id; `describe` gives it name and address.

    Nothing of the call depends on who makes it: two members who begin at once ask for the same customer under
    the same idempotency key.
    """
    identity = f"customer:{reference}"

    def find() -> stripe.Customer | None:
        # Stripe cannot be asked for one by our reference, so those made since the first try are looked through.
        since = creating.record_try(identity)
        if since is None:
            return None
        earliest = int((since - CLOCKS_DIFFER).timestamp())
        with calling() as client:
            page = client.v1.customers.list({"created": {"gte": earliest}, "limit": 100})
            ours = (
                customer
                for customer in page.auto_paging_iter()
                if metadata_of(customer.metadata).get("organization") == reference
            )
            # The oldest, should there be two.
            return next(reversed(list(ours)), None)

    customer, _ = find_or_create(
        identity,
        find=find,
        create=lambda client, options: client.v1.customers.create(
            {"metadata": {"organization": reference}}, options
        ),
    )
    return customer.id


def describe(customer_id: str, *, name: str, email: str) -> None:
    """Write the name and address that invoices go to; later the customer changes them in the portal."""
    with calling() as client:
        client.v1.customers.update(customer_id, {"name": name, "email": email})


def find(customer_id: str) -> Customer | None:
    """The customer as Stripe has it; None where it has none, or a deleted one."""
    try:
        with calling() as client:
            customer = client.v1.customers.retrieve(customer_id)
    except StripeRefused as refusal:
        if refusal.is_missing:
            return None
        raise
    if getattr(customer, "deleted", False):
        return None
    return Customer(customer.id, customer.email or "")


def exists(customer_id: str) -> bool:
    """Whether Stripe has the customer; a deleted one it has not."""
    return find(customer_id) is not None


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
