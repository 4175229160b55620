"""The prices of a subscription: each price on offer is an item of it at Stripe, and old ones go in time.

What an invoice bills is decided by the ledger, so an old price's item can go at any time, also before its
last use is billed. It stays while it is in use, as long as there is room.
"""

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from billing.gateway import subscriptions as at_stripe
from billing.models import Hold, MeteredPrice, Subscription, SubscriptionItem, UsageBatch

# https://docs.stripe.com/billing/subscriptions/multiple-products: a subscription has at most 20 items.
MOST_ITEMS = 20


def prices_on_offer() -> list[MeteredPrice]:
    """The metered price of each model and size that is in force now."""
    newest: dict[tuple[str, str], MeteredPrice] = {}
    in_force = MeteredPrice.objects.filter(price__effective_from__lte=timezone.now())
    for metered in in_force.select_related("price").order_by("price__version"):
        newest[metered.price.model, metered.price.size] = metered
    return sorted(newest.values(), key=lambda metered: (metered.price.amount_micros, metered.pk))


def add_missing(row: Subscription) -> int:
    """Add an item at Stripe for each price on offer that the subscription lacks; returns how many.

    Where it has no room for them, items of old prices are removed first: as many as are needed.

    Raises:
        GatewayError
    """
    have = set(row.items.values_list("price", flat=True))
    lacked = [metered for metered in prices_on_offer() if metered.price_id not in have]
    if not lacked:
        return 0
    # Stripe's own list: an item that somebody has added there takes room too.
    there = at_stripe.find(str(row.subscription_id)).items
    known = {price_id for _, price_id in there}
    missing = [each.stripe_price_id for each in lacked if each.stripe_price_id not in known]
    _make_room(there, len(there) + len(missing) - MOST_ITEMS)
    for price_id in missing:
        at_stripe.add_item(subscription_id=str(row.subscription_id), price_id=price_id)
    return len(lacked)


def _make_room(there: list[tuple[str, str]], needed: int) -> None:
    """Remove that many items of prices no longer on offer, the oldest first.

    Last come those of a size that has no newer price there: images could not be held at any until the new one
    is confirmed.
    """
    if needed <= 0:
        return
    offered = {metered.pk for metered in prices_on_offer()}
    items = {price_id: item_id for item_id, price_id in there}
    prices = [
        metered.price
        for metered in MeteredPrice.objects.filter(stripe_price_id__in=items).select_related(
            "price"
        )
    ]
    newest: dict[tuple[str, str], int] = {}
    for price in prices:
        kind = price.model, price.size
        newest[kind] = max(price.version, newest.get(kind, 0))
    old = [price for price in prices if price.pk not in offered]
    old.sort(
        key=lambda price: (
            price.version == newest[price.model, price.size],
            price.effective_from,
            price.pk,
        )
    )
    for price in old[:needed]:
        at_stripe.remove_item(items[price.metered.stripe_price_id])


def unused() -> QuerySet[SubscriptionItem]:
    """Items of prices no longer on offer: no image is, or will be, held at them or waits for its invoice."""
    newer = SubscriptionItem.objects.filter(
        subscription=OuterRef("subscription"),
        price__model=OuterRef("price__model"),
        price__size=OuterRef("price__size"),
        price__version__gt=OuterRef("price__version"),
    )
    of_item = {"organization": OuterRef("subscription"), "price": OuterRef("price")}
    holds = Hold.objects.filter(payer=Hold.Payer.SUBSCRIPTION, **of_item)
    return SubscriptionItem.objects.exclude(
        price__in=[metered.price_id for metered in prices_on_offer()]
    ).filter(
        Exists(newer),
        ~Exists(holds.pending()),
        ~Exists(holds.filter(state=Hold.State.CAPTURED, usage_batch=None)),
        ~Exists(UsageBatch.objects.unclaimed().filter(**of_item)),
    )


def remove_unused(row: Subscription) -> int:
    """Remove the subscription's items that are not in use any more; returns how many.

    Raises:
        GatewayError
    """
    removed = [item.item_id for item in unused().filter(subscription=row)]
    for item_id in removed:
        at_stripe.remove_item(item_id)
    return len(removed)
