"""Subscriptions and their items, as they are now."""

from dataclasses import dataclass
from datetime import datetime

import stripe

from billing.gateway.client import calling
from billing.gateway.conversions import datetime_of, id_of, metadata_of
from billing.gateway.creating import find_or_create
from billing.gateway.errors import StripeRefused


@dataclass(frozen=True)
class SubscriptionState:
    """A subscription; `items` are pairs of an item's id and its Stripe price's, `reference` is ours.

    The billing period stands on the items (since 2025-03-31); all of ours share one. That of a
    subscription that is over ends when it did.
    """

    id: str
    status: str
    customer_id: str
    reference: str | None
    period_start: datetime | None
    period_end: datetime | None
    ends_at: datetime | None
    items: list[tuple[str, str]]


def find(subscription_id: str) -> SubscriptionState:
    """The subscription as it is now, a canceled one too.

    Raises:
        StripeRefused: there is none (`is_missing`).
    """
    with calling() as client:
        subscription = client.v1.subscriptions.retrieve(subscription_id)
    return _state(subscription)


def all_of(customer_id: str) -> list[SubscriptionState]:
    """The customer's subscriptions, ended ones too, the newest first."""
    with calling() as client:
        page = client.v1.subscriptions.list(
            {"customer": customer_id, "status": "all", "limit": 100}
        )
    return [_state(subscription) for subscription in page.data]


def _items(subscription: stripe.Subscription) -> list[stripe.SubscriptionItem]:
    """All of them: the list inside a subscription holds only the first few."""
    if not subscription.items.has_more:
        return subscription.items.data
    return _listed_items(subscription.id)


def _listed_items(subscription_id: str) -> list[stripe.SubscriptionItem]:
    with calling() as client:
        page = client.v1.subscription_items.list({"subscription": subscription_id, "limit": 100})
    return page.data


def _state(subscription: stripe.Subscription) -> SubscriptionState:
    items = _items(subscription)
    first = items[0] if items else None
    ends_at = subscription.cancel_at
    if ends_at is None and subscription.cancel_at_period_end and first:
        ends_at = first.current_period_end
    return SubscriptionState(
        id=subscription.id,
        status=subscription.status,
        customer_id=id_of(subscription.customer) or "",
        reference=metadata_of(subscription.metadata).get("organization"),
        period_start=datetime_of(first.current_period_start) if first else None,
        period_end=datetime_of(
            subscription.ended_at or (first.current_period_end if first else None)
        ),
        ends_at=datetime_of(ends_at),
        items=[(item.id, item.price.id) for item in items],
    )


def add_item(*, subscription_id: str, price_id: str) -> str:
    """Make a price part of the subscription from now on, once. Returns the item's id."""

    def find() -> stripe.SubscriptionItem | None:
        ours = (item for item in _listed_items(subscription_id) if item.price.id == price_id)
        return next(ours, None)

    item, _ = find_or_create(
        f"item:{subscription_id}:{price_id}",
        find=find,
        create=lambda client, options: client.v1.subscription_items.create(
            {
                "subscription": subscription_id,
                "price": price_id,
                # A metered price costs nothing by itself.
                "proration_behavior": "none",
            },
            options,
        ),
    )
    return item.id


def remove_item(item_id: str) -> None:
    """Take a price out of its subscription: Stripe does not bill by it what was used in the running period.

    Safe to repeat.
    """
    try:
        with calling() as client:
            client.v1.subscription_items.delete(item_id, {"proration_behavior": "none"})
    except StripeRefused as refusal:
        if not refusal.is_missing:
            raise


def end_without_invoice(subscription_id: str) -> None:
    """End it at once; what its meters counted is billed by another subscription. Safe to repeat."""
    try:
        with calling() as client:
            client.v1.subscriptions.cancel(
                subscription_id, {"invoice_now": False, "prorate": False}
            )
    except StripeRefused as refusal:
        # Stripe knows no subscription that has ended under that call.
        if not refusal.is_missing:
            raise
