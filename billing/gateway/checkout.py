"""The pages at Stripe that a customer is sent to: checkout and the portal."""

from dataclasses import dataclass

import stripe

from billing.gateway.client import calling
from billing.gateway.conversions import id_of
from billing.gateway.errors import StripeRefused


@dataclass(frozen=True)
class Checkout:
    """A checkout page; `url` only while it is open. `reference` is the organization's, as we gave it."""

    id: str
    status: str
    url: str | None
    reference: str | None
    customer_id: str | None
    subscription_id: str | None


def begin(
    *, customer_id: str, reference: str, price_ids: list[str], success_url: str, cancel_url: str
) -> Checkout:
    """A page on which the customer enters a card and subscribes to these metered prices.

    Always a new one, under a key of its own: nobody knows the address of one that a fault has hidden.
    """
    with calling() as client:
        session = client.v1.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": customer_id,
                "client_reference_id": reference,
                # Metered lines take no quantity: Stripe refuses one.
                "line_items": [{"price": price_id} for price_id in price_ids],
                "subscription_data": {"metadata": {"organization": reference}},
                "success_url": success_url,
                "cancel_url": cancel_url,
                "automatic_tax": {"enabled": True},
                "billing_address_collection": "required",
                "tax_id_collection": {"enabled": True},
                # Both of the above want to write on a customer that exists already.
                "customer_update": {"address": "auto", "name": "auto"},
            }
        )
    return _checkout(session)


def find(checkout_id: str) -> Checkout:
    """The checkout session as it is now.

    Raises:
        StripeRefused: there is none (`is_missing`).
    """
    with calling() as client:
        return _checkout(client.v1.checkout.sessions.retrieve(checkout_id))


def expire(checkout_id: str) -> bool:
    """Close an open session, so that only one of two can be completed; False where it was not open (any more)."""
    try:
        with calling() as client:
            client.v1.checkout.sessions.expire(checkout_id)
    except StripeRefused:
        return False
    return True


def _checkout(session: stripe.checkout.Session) -> Checkout:
    return Checkout(
        id=session.id,
        status=session.status or "",
        url=session.url,
        reference=session.client_reference_id,
        customer_id=id_of(session.customer),
        subscription_id=id_of(session.subscription),
    )


def open_portal(*, customer_id: str, return_url: str, configuration_id: str) -> str:
    """A fresh address of the portal for that customer; it works for a few minutes."""
    with calling() as client:
        session = client.v1.billing_portal.sessions.create(
            {
                "customer": customer_id,
                "return_url": return_url,
                "configuration": configuration_id,
            }
        )
    return session.url
