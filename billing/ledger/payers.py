"""Who pays for an image: credit while it covers the price, else the subscription if it may; or nobody.

A subscription is read from our own row, as of the last sync with Stripe: admission never waits for Stripe,
and goes on within the caps while Stripe is away.
"""

from django.conf import settings

from billing.amounts import dollars
from billing.ledger import ceilings
from billing.ledger.budgets import InsufficientQuota, Reservation
from billing.models import Price, Subscription

BILLING_PAGE = "the dashboard's Billing page"


class AccountFrozen(InsufficientQuota):
    """A disputed payment or a fraud warning: no new work, whoever would pay for it."""

    text = (
        "New images are stopped for your organization: a payment is disputed or was reported as fraud, or the "
        f"operators stopped them. Nothing was charged. See {BILLING_PAGE} for what to do."
    )


class NoSubscription(InsufficientQuota):
    """The credit is used up and there is no card."""

    text = (
        "Your organization has no credit left for this image. Nothing was charged. "
        f"Add a card on {BILLING_PAGE} to go on."
    )


class NoCardsTaken(InsufficientQuota):
    """The credit is used up, and this installation takes no cards."""

    text = (
        "Your organization has no credit left for this image. Nothing was charged. "
        "Write to whoever runs this service to be given more."
    )


class SubscriptionPaused(InsufficientQuota):
    """The subscription was paused at Stripe, as at the end of a trial without a card."""

    text = (
        "Your organization has no credit left and its subscription is paused. Nothing was charged. "
        f"Resume it under Manage on {BILLING_PAGE}."
    )


class SubscriptionEnded(InsufficientQuota):
    """The subscription was canceled, or its first payment was not completed."""

    text = (
        "Your organization has no credit left and no active subscription. Nothing was charged. "
        f"Subscribe on {BILLING_PAGE} to go on."
    )


class PaymentOverdue(InsufficientQuota):
    """A payment failed, and the days of grace are over or Stripe has given up on it."""

    text = (
        "A payment of your organization failed and is overdue, so new images are refused. Nothing was "
        f"charged. Pay the open invoice or change the card on {BILLING_PAGE}; work goes on at once."
    )


class UnpaidLimitReached(InsufficientQuota):
    """As much is unpaid as may be."""

    def __init__(self, unpaid_micros: int, ceiling_micros: int) -> None:
        super().__init__(
            f"Your organization has {dollars(unpaid_micros)} of unpaid use, images in progress included, and may have "
            f"at most {dollars(ceiling_micros)}. Nothing was charged for this image. Use is invoiced and charged to "
            f"your card by itself, and new images are accepted once it is paid. Pay an open invoice on {BILLING_PAGE}, "
            "or write to whoever runs this service for a higher limit."
        )


class GraceLimitReached(InsufficientQuota):
    """A payment failed, and the lower ceiling that holds until it is paid is reached."""

    def __init__(self, unpaid_micros: int, ceiling_micros: int) -> None:
        super().__init__(
            f"A payment of your organization failed. Until it is paid, at most {dollars(ceiling_micros)} may be unpaid, "
            f"and {dollars(unpaid_micros)} is, images in progress included. Nothing was charged for this image. Pay the "
            f"open invoice or change the card on {BILLING_PAGE}."
        )


class SizeNotSubscribed(InsufficientQuota):
    """Stripe has not confirmed a price for this size yet; the next sync adds it, within minutes."""

    text = (
        "This size is being added to your subscription. Nothing was charged. Please try again in a minute, "
        "or choose another size."
    )


REFUSAL_OF: dict[str, type[InsufficientQuota]] = {
    Subscription.Status.NONE: NoSubscription,
    Subscription.Status.INCOMPLETE: SubscriptionEnded,
    Subscription.Status.INCOMPLETE_EXPIRED: SubscriptionEnded,
    Subscription.Status.CANCELED: SubscriptionEnded,
    Subscription.Status.PAUSED: SubscriptionPaused,
    Subscription.Status.PAST_DUE: PaymentOverdue,
    Subscription.Status.UNPAID: PaymentOverdue,
}


def refuse_frozen(subscription: Subscription | None) -> None:
    """Refuse new work of a frozen organization.

    Raises:
        AccountFrozen
    """
    if subscription and subscription.frozen_at:
        raise AccountFrozen


def subscribed_price(subscription: Subscription | None, price: Price) -> Price:
    """What the subscription pays for an image at that price: the newest version that Stripe has confirmed.

    Raises:
        InsufficientQuota: the subscription may not pay; which kind says why.
    """
    if subscription is None:
        raise NoSubscription if settings.STRIPE_SECRET_KEY else NoCardsTaken
    if not subscription.serves:
        raise REFUSAL_OF[subscription.status]
    items = subscription.items.filter(
        price__model=price.model, price__size=price.size, price__version__lte=price.version
    )
    item = items.select_related("price").order_by("-price__version").first()
    if item is None:
        raise SizeNotSubscribed
    return item.price


def unpaid_cap(
    subscription: Subscription, reserved: Reservation, amount_micros: int
) -> tuple[int, int] | None:
    """(owed and held, the most allowed) with an image of that amount; None where there is no ceiling.

    Call it in the transaction that reserved: it holds the organization's budget row, so nobody else can
    spend in between.

    Raises:
        UnpaidLimitReached, GraceLimitReached
    """
    ceiling = ceilings.ceiling_micros(subscription)
    if ceiling is None:
        return None
    if reserved.owed_micros > ceiling:
        refusal = GraceLimitReached if subscription.past_due_since else UnpaidLimitReached
        raise refusal(reserved.owed_micros - amount_micros, ceiling)
    return reserved.owed_micros, ceiling
