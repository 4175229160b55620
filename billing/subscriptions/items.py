"""The prices of a subscription: new ones become items at Stripe, and old ones are removed once they are billed."""

from django.utils import timezone

from billing.gateway import subscriptions as at_stripe
from billing.models import MeteredPrice, Price, Subscription


def prices_on_offer() -> list[MeteredPrice]:
    """The metered price of each model and size that is in force now."""
    newest: dict[tuple[str, str], MeteredPrice] = {}
    in_force = MeteredPrice.objects.filter(price__effective_from__lte=timezone.now())
    for metered in in_force.select_related("price").order_by("price__version"):
        newest[metered.price.model, metered.price.size] = metered
    return sorted(newest.values(), key=lambda metered: (metered.price.amount_micros, metered.pk))


def add_missing(row: Subscription) -> int:
    """Add an item at Stripe for each price on offer that the subscription lacks; returns how many."""
    have = set(row.items.values_list("price", flat=True))
    missing = [metered for metered in prices_on_offer() if metered.price_id not in have]
    for metered in missing:
        at_stripe.add_item(
            subscription_id=str(row.subscription_id), price_id=metered.stripe_price_id
        )
    return len(missing)


def remove_old(row: Subscription) -> int:
    """Remove items of prices no longer on offer, once their last invoice is closed; returns how many."""
    offered = {metered.price_id for metered in prices_on_offer()}
    removed = 0
    for item in row.items.exclude(price__in=offered).select_related("price"):
        if not _has_unbilled_use(row, item.price):
            at_stripe.remove_item(item.item_id)
            removed += 1
    return removed


def _has_unbilled_use(row: Subscription, price: Price) -> bool:
    """Whether an image at that price is in flight, or is on no closed invoice yet."""
    holds = row.organization.holds.filter(price=price, payer="subscription")
    batches = row.organization.usage_batches.filter(price=price)
    return (
        holds.pending().exists()
        or holds.filter(state="captured", usage_batch=None).exists()
        or batches.unclaimed().exists()
    )
