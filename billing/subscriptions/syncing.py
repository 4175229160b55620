"""Our row of an organization's subscription, and how it follows Stripe.

Our row is what admission reads. Its status changes by `sync` alone, which asks Stripe for the present state:
the order and number of webhooks mean nothing, and neither does what they carry.
"""

import logging
import uuid

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from accounts.models import Organization
from billing.gateway import subscriptions as at_stripe
from billing.gateway.errors import StripeRefused
from billing.mails import notices
from billing.models import Budget, MeteredPrice, Subscription, SubscriptionItem
from billing.subscriptions import catalog, items

logger = logging.getLogger(__name__)

TRIES = 5


def get_or_create(organization: Organization) -> Subscription:
    """The organization's row, created on first use."""
    row, _ = Subscription.objects.get_or_create(organization=organization)
    return row


def sync(row: Subscription) -> Subscription:
    """Ask Stripe for the state and write it, unless a later answer was written meanwhile; returns the row as it is then.

    Raises:
        GatewayError
    """
    for _ in range(TRIES):
        row = Subscription.objects.select_related("organization").get(pk=row.pk)
        if not row.customer_id:
            return row
        states = at_stripe.all_of(str(row.customer_id))
        state = _current(row, states)
        for other in states:
            if other is not state and other.status in Subscription.LIVE:
                _cancel_duplicate(row, other)
        if _write(row, state):
            row.refresh_from_db()
            return row
    logger.warning("subscription changes too fast", extra={"organization": row.pk})
    return row


def _current(
    row: Subscription, states: list[at_stripe.SubscriptionState]
) -> at_stripe.SubscriptionState | None:
    """The subscription that counts: ours while it is live, else another live one, else ours as it ended."""
    # Of equals the first, which is the newest in Stripe's list.
    return max(
        states,
        key=lambda s: (s.status in Subscription.LIVE, s.id == row.subscription_id),
        default=None,
    )


def _cancel_duplicate(row: Subscription, other: at_stripe.SubscriptionState) -> None:
    """Two checkouts were completed, so both subscriptions would bill each image: cancel the other one."""
    at_stripe.cancel_now(other.id)
    notices.note("second_subscription", subject=other.id, organization_name=row.organization.name)


def _write(row: Subscription, state: at_stripe.SubscriptionState | None) -> bool:
    """Compare-and-set on the version that `row` was read with; False where another answer was written since."""
    if state is None:
        return True
    changes = {
        "subscription_id": state.id,
        "status": state.status,
        "period_start": state.period_start,
        "period_end": state.period_end,
        "ends_at": state.ends_at,
        "version": row.version + 1,
        "synced_at": timezone.now(),
        **_past_due_changes(row, state.status),
    }
    with transaction.atomic():
        if not Subscription.objects.filter(pk=row.pk, version=row.version).update(**changes):
            return False
        _write_items(row, state)
        _note_status_change(row, state)
    return True


def _past_due_changes(row: Subscription, status: str) -> dict[str, object]:
    """Changes of the row: when the grace of a failed payment began, and what the month's budget had reserved then."""
    if status != Subscription.Status.PAST_DUE:
        return {"past_due_since": None, "past_due_reserved_micros": 0}
    if row.past_due_since:
        return {}
    now = timezone.now()
    budget = Budget.objects.of_organization(row.organization).filter(
        month__gte=now.date().replace(day=1)
    )
    reserved = budget.first()
    return {
        "past_due_since": now,
        "past_due_reserved_micros": reserved.reserved_micros if reserved else 0,
    }


def _write_items(row: Subscription, state: at_stripe.SubscriptionState) -> None:
    """Make our items those that Stripe has confirmed: images are held at no other price."""
    known = dict(
        MeteredPrice.objects.filter(
            stripe_price_id__in=[price_id for _, price_id in state.items]
        ).values_list("stripe_price_id", "price_id")
    )
    ids = [item_id for item_id, _ in state.items]
    row.items.exclude(item_id__in=ids).delete()
    have = set(row.items.values_list("item_id", flat=True))
    SubscriptionItem.objects.bulk_create(
        SubscriptionItem(subscription=row, item_id=item_id, price_id=known[price_id])
        for item_id, price_id in state.items
        if price_id in known and item_id not in have
    )


def _note_status_change(row: Subscription, state: at_stripe.SubscriptionState) -> None:
    """Note the mails that belong to a change of status."""
    was, now = row.status, state.status
    if was == Subscription.Status.PAST_DUE and now in Subscription.SERVED and row.past_due_since:
        subject = row.past_due_since.isoformat()
        notices.note("payment_recovered", organization=row.pk, subject=subject)
    elif was in Subscription.LIVE and now == Subscription.Status.UNPAID:
        notices.note(
            "payment_given_up", organization=row.pk, subject=timezone.now().date().isoformat()
        )
    elif was in Subscription.LIVE and now == Subscription.Status.CANCELED:
        notices.note("subscription_ended", organization=row.pk, subject=state.id)


def forget_customer(row: Subscription) -> Subscription:
    """Clear a row whose customer, and with it the subscription, was deleted at Stripe. The next checkout makes another.

    The reference is a new one, so that nothing of the customer that is gone is taken for the next one's.
    """
    was_live = row.is_live
    with transaction.atomic():
        row.items.all().delete()
        Subscription.objects.filter(pk=row.pk).update(
            customer_id=None,
            subscription_id=None,
            checkout_id="",
            status=Subscription.Status.NONE,
            period_start=None,
            period_end=None,
            ends_at=None,
            past_due_since=None,
            past_due_reserved_micros=0,
            reference=uuid.uuid4(),
            version=row.version + 1,
        )
        if was_live:
            notices.note(
                "subscription_ended", organization=row.pk, subject=str(row.subscription_id)
            )
    row.refresh_from_db()
    return row


def refresh_subscriptions() -> None:
    """Bring live subscriptions up to date: add new prices, remove old ones, and sync those whose period has ended.

    On a new installation it makes the catalog, too: the first customer then need not wait for its many calls.

    Raises:
        GatewayError
    """
    catalog.complete()
    live = Subscription.objects.filter(status__in=Subscription.LIVE)
    if not live.exists():
        return
    offered = [metered.price_id for metered in items.prices_on_offer()]
    is_offered = Q(items__price__in=offered)
    outdated = live.alias(
        offered=Count("items", filter=is_offered), old=Count("items", filter=~is_offered)
    ).filter(Q(offered__lt=len(offered)) | Q(old__gt=0) | Q(period_end__lt=timezone.now()))
    for row in list(outdated):
        # Its period may have ended without a webhook that told us of the next one.
        period_ended = row.period_end is not None and row.period_end < timezone.now()
        try:
            if items.add_missing(row) + items.remove_old(row) or period_ended:
                sync(row)
        except StripeRefused as refusal:
            # What Stripe refuses for one says nothing about the others.
            logger.warning(
                "subscription not refreshed",
                extra={"organization": row.pk, "detail": str(refusal)},
            )
