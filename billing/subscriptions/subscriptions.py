"""An organisation's subscription: how it begins at Stripe, and how our row follows what it is there.

Our row is what admission reads. It changes by `sync` alone, which asks Stripe for the present state: the
order and number of webhooks mean nothing, and neither does what they carry.
"""

import logging
import uuid
from datetime import datetime

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from accounts.models import Organization
from billing.gateway import subscriptions as at_stripe
from billing.mails import notices
from billing.models import (
    Budget,
    MeteredPrice,
    Price,
    Subscription,
    SubscriptionItem,
)
from billing.subscriptions import catalog

logger = logging.getLogger(__name__)

TRIES = 5


def of(organization: Organization) -> Subscription:
    """The organisation's row, made on first use."""
    row, _ = Subscription.objects.get_or_create(organization=organization)
    return row


def prices_on_offer() -> list[MeteredPrice]:
    """The metered price of each model and size that is in force now."""
    newest: dict[tuple[str, str], MeteredPrice] = {}
    in_force = MeteredPrice.objects.filter(price__effective_from__lte=timezone.now())
    for metered in in_force.select_related("price").order_by("price__version"):
        newest[metered.price.model, metered.price.size] = metered
    return sorted(newest.values(), key=lambda metered: (metered.price.amount_micros, metered.pk))


def sync(row: Subscription) -> Subscription:
    """Ask Stripe how things are, and write it down unless somebody has looked later; the row as it then is.

    Raises:
        GatewayError
    """
    for _ in range(TRIES):
        row = Subscription.objects.select_related("organization").get(pk=row.pk)
        if not row.customer_id:
            return row
        state = _look(row)
        if _write(row, state):
            row.refresh_from_db()
            return row
    logger.warning("subscription changes too fast", extra={"organization": row.pk})
    return row


def _look(row: Subscription) -> at_stripe.SubscriptionState | None:
    """The subscription that counts: ours while it lives, else another that does, else ours as it ended."""
    found = at_stripe.all_of(str(row.customer_id))
    living = [state for state in found if state.status in Subscription.LIVE]
    # Of equals the newest comes first, as in Stripe's list.
    order = sorted(found, key=lambda s: (s in living, s.id == row.subscription_id), reverse=True)
    for extra in living:
        if extra.id != order[0].id:
            _end_second(row, extra)
    return order[0] if order else None


def _end_second(row: Subscription, extra: at_stripe.SubscriptionState) -> None:
    """Two checkouts were completed: each image would be billed by both."""
    at_stripe.cancel_now(extra.id)
    notices.note("second_subscription", subject=extra.id, organization_name=row.organization.name)


def _write(row: Subscription, state: at_stripe.SubscriptionState | None) -> bool:
    """Compare-and-set on the version that the look began with."""
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
        **_past_due(row, state.status),
    }
    if state.id != row.subscription_id and state.period_start:
        # It counts nothing from before it began.
        changes["invoiced_until"] = max(
            filter(None, [row.invoiced_until, state.period_start]), default=None
        )
    with transaction.atomic():
        if not Subscription.objects.filter(pk=row.pk, version=row.version).update(**changes):
            return False
        _write_items(row, state)
        _tell(row, state)
    return True


def _past_due(row: Subscription, status: str) -> dict[str, object]:
    """When the grace of a failed payment began, and what that month's budget had reserved by then."""
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
    """Only what Stripe has confirmed is held at."""
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


def _tell(row: Subscription, state: at_stripe.SubscriptionState) -> None:
    """The mails that belong to a change of status."""
    was, now = row.status, state.status
    if was == Subscription.Status.PAST_DUE and now in Subscription.SERVED and row.past_due_since:
        subject = row.past_due_since.isoformat()
        notices.note("payment_recovered", organization=row.pk, subject=subject)
    elif was in Subscription.LIVE and now == Subscription.Status.UNPAID:
        notices.note("payment_given_up", organization=row.pk, subject=_day())
    elif was in Subscription.LIVE and now == Subscription.Status.CANCELED:
        notices.note("subscription_ended", organization=row.pk, subject=state.id)


def _day() -> str:
    return timezone.now().date().isoformat()


def forget_customer(row: Subscription) -> Subscription:
    """The customer was deleted at Stripe, and with it the subscription. The next checkout makes another.

    Under a new reference: for a day Stripe would answer the old one with the customer that is gone.
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


def note_invoiced(row: Subscription, until: datetime) -> None:
    """An invoice over use before that moment takes no more in: what comes late belongs to the next."""
    later = Subscription.objects.filter(pk=row.pk).exclude(invoiced_until__gte=until)
    later.update(invoiced_until=until)


@transaction.atomic
def freeze(row: Subscription, *, because: str, by_staff: bool = False) -> None:
    """Stop new work, whoever would pay for it; what is in work is still delivered."""
    row = Subscription.objects.select_for_update(no_key=True).get(pk=row.pk)
    if because in row.frozen_because:
        return
    row.frozen_because.append(because)
    row.frozen_at = row.frozen_at or timezone.now()
    row.save(update_fields=["frozen_because", "frozen_at"])
    # The same reason may come again another day.
    once = f"{because}, {_day()}"
    notices.note("account_frozen", organization=row.pk, subject=once, by_staff=by_staff)
    name = row.organization.name
    notices.note("frozen", subject=f"{row.pk}: {once}", organization_name=name, because=because)


@transaction.atomic
def unfreeze(row: Subscription, *, because: str | None = None) -> bool:
    """Take one reason back, or all of them; returns whether work goes on."""
    row = Subscription.objects.select_for_update(no_key=True).get(pk=row.pk)
    kept = [reason for reason in row.frozen_because if because not in {None, reason}]
    row.frozen_because = kept
    if not kept:
        row.frozen_at = None
    row.save(update_fields=["frozen_because", "frozen_at"])
    return not kept


def refresh_subscriptions() -> None:
    """The standing chore: new prices become items, old ones go, and rows that nothing was heard of are looked at.

    Raises:
        GatewayError
    """
    live = Subscription.objects.filter(status__in=Subscription.LIVE)
    if not live.exists():
        return
    catalog.complete()
    offered = [metered.price_id for metered in prices_on_offer()]
    is_offered = Q(items__price__in=offered)
    to_look_at = live.alias(
        offered=Count("items", filter=is_offered), old=Count("items", filter=~is_offered)
    ).filter(Q(offered__lt=len(offered)) | Q(old__gt=0) | Q(period_end__lt=timezone.now()))
    for row in list(to_look_at):
        # A period that ended without a webhook is looked at as well.
        if add_items(row) + remove_items(row) or _is_stale(row):
            sync(row)


def add_items(row: Subscription) -> int:
    """Give the subscription an item for each price that it lacks; returns how many."""
    have = set(row.items.values_list("price", flat=True))
    missing = [metered for metered in prices_on_offer() if metered.price_id not in have]
    for metered in missing:
        at_stripe.add_item(
            subscription_id=str(row.subscription_id), price_id=metered.stripe_price_id
        )
    return len(missing)


def remove_items(row: Subscription) -> int:
    """Take out items of prices no longer on offer, once their last invoice is written; returns how many."""
    offered = {metered.price_id for metered in prices_on_offer()}
    removed = 0
    for item in row.items.exclude(price__in=offered).select_related("price"):
        if not _is_used(row, item.price):
            at_stripe.remove_item(item.item_id)
            removed += 1
    return removed


def _is_used(row: Subscription, price: Price) -> bool:
    """Whether an image at that price is in work, or is in no closed invoice yet."""
    start = row.period_start
    if start is None or row.invoiced_until is None or row.invoiced_until < start:
        return True
    holds = row.organization.holds.filter(price=price, payer="subscription")
    batches = row.organization.usage_batches.filter(price=price)
    return (
        holds.pending().exists()
        or holds.filter(state="captured", usage_batch=None).exists()
        or batches.unsent().exists()
        or batches.filter(timestamp__gte=start).exists()
    )


def _is_stale(row: Subscription) -> bool:
    """The period ended and no webhook told us of the next one."""
    return row.period_end is not None and row.period_end < timezone.now()
