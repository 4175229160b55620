"""Our row of an organization's subscription, and how it follows Stripe.

Our row is what admission reads. Its status changes by `sync` alone, which asks Stripe for the present state:
the order and number of webhooks mean nothing, and neither does what they carry.
"""

import logging
import uuid
from datetime import timedelta

from django.db import transaction
from django.db.models import Count, F, Q, Sum
from django.utils import timezone

from accounts.models import Organization
from billing import isolation
from billing.gateway import subscriptions as at_stripe
from billing.gateway.errors import StripeAway, StripeRefused
from billing.mails import notices
from billing.models import (
    Budget,
    Hold,
    MeteredPrice,
    Subscription,
    SubscriptionItem,
    UsageBatch,
    UsageBatchQuerySet,
)
from billing.subscriptions import catalog, items

logger = logging.getLogger(__name__)

TRIES = 5
# With isolation.ROW_SECONDS within the worker's time limit for a task; the next run goes on.
REFRESH_SECONDS = 35.0
LOOK_SECONDS = 20.0
LOOK_EACH = timedelta(days=1)
LOOK_ALARM = timedelta(days=3)


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
        if _write(row, state):
            row.refresh_from_db()
            _end_others(row, states)
            return row
    logger.warning("subscription changes too fast", extra={"organization": row.pk})
    return row


def _current(
    row: Subscription, states: list[at_stripe.SubscriptionState]
) -> at_stripe.SubscriptionState | None:
    """The subscription that counts: ours while it is live, else the oldest live one, else ours as it ended."""
    ours = next((state for state in states if state.id == row.subscription_id), None)
    live = [state for state in states if state.status in Subscription.LIVE]
    if ours in live:
        return ours
    # Stripe lists the newest first.
    return live[-1] if live else ours or next(iter(states), None)


def _end_others(row: Subscription, states: list[at_stripe.SubscriptionState]) -> None:
    """Two checkouts were completed: end the surplus subscription, without an invoice.

    What was used is billed by the one that counts. Which one that is has been written first, so that two
    processes that see both do not end one each.
    """
    for other in states:
        if other.id != row.subscription_id and other.status in Subscription.LIVE:
            notices.note(
                "second_subscription",
                subject=other.id,
                organization_name=row.organization.name,
                kept=str(row.subscription_id),
            )
            at_stripe.end_without_invoice(other.id)


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

    What is on no invoice yet is kept: what was reported for that customer is not metered any more, and waits for
    an invoice of the next one. The reference is a new one, so that nothing of the customer that is gone is taken
    for the next one's. Safe to repeat.
    """
    gone = row.customer_id
    with transaction.atomic():
        # As whoever claims use for an invoice: one at a time.
        Organization.objects.select_for_update(no_key=True).get(pk=row.pk)
        mine = Subscription.objects.select_for_update(no_key=True).filter(
            pk=row.pk, customer_id=gone
        )
        if gone and (now := mine.select_related("organization").first()):
            _forget(now)
    row.refresh_from_db()
    return row


def _forget(row: Subscription) -> None:
    """In a transaction, with the row locked."""
    _tell_of_unbilled(row)
    _unbilled(row).filter(customer_id=row.customer_id).update(
        state=UsageBatch.State.UNMETERED, claimed_until=None, confirmed_at=None
    )
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
        past_due_owed_micros=0,
        reference=uuid.uuid4(),
        version=F("version") + 1,
    )
    if row.is_live:
        notices.note("subscription_ended", organization=row.pk, subject=str(row.subscription_id))


def _unbilled(row: Subscription) -> UsageBatchQuerySet:
    """Batches on no invoice; of those that an earlier release billed by one of their own, only the unsent."""
    billed = Q(by_invoice=True, state__in=UsageBatch.TAKEN)
    return UsageBatch.objects.unclaimed().filter(organization=row.organization).exclude(billed)


def _tell_of_unbilled(row: Subscription) -> None:
    """Note what was used and is on no invoice: staff see that the next customer is billed for it, or nobody."""
    open_use = row.organization.holds.filter(
        state=Hold.State.CAPTURED, payer=Hold.Payer.SUBSCRIPTION, usage_batch=None
    )
    sums = [
        _unbilled(row).aggregate(
            images=Sum("quantity"), micros=Sum(F("quantity") * F("price__amount_micros"))
        ),
        open_use.aggregate(images=Count("pk"), micros=Sum("amount_micros")),
    ]
    images, micros = (sum(each[name] or 0 for each in sums) for name in ("images", "micros"))
    if images:
        notices.note(
            "unbilled_use",
            subject=str(row.customer_id),
            organization_name=row.organization.name,
            images=images,
            micros=micros,
        )


def refresh_subscriptions(seconds: float = REFRESH_SECONDS) -> list[bool]:
    """Bring live subscriptions up to date: add new prices, remove old ones, and sync those whose period has ended.

    Returns, for each that was looked at, whether its items have changed.

    On a new installation it makes the catalog, too: the first customer then need not wait for its many calls.

    Raises:
        StripeKeyRefused, StripeRefused: of the catalog.
    """
    try:
        catalog.complete()
    except StripeAway as error:
        # It may be one call that fails: subscriptions have theirs.
        logger.warning("catalog not complete", extra={"detail": str(error)})
    live = Subscription.objects.filter(status__in=Subscription.LIVE)
    if not live.exists():
        return []
    offered = [metered.price_id for metered in items.prices_on_offer()]
    outdated = live.alias(offered=Count("items", filter=Q(items__price__in=offered))).filter(
        Q(offered__lt=len(offered))
        | Q(period_end__lt=timezone.now())
        | Q(pk__in=items.unused().values("subscription"))
    )
    return isolation.for_each(
        outdated,
        _refresh,
        what="The prices of a subscription could not be changed",
        organization_of=lambda row: row.pk,
        seconds=seconds,
    )


def _refresh(row: Subscription) -> bool:
    """Whether its items have changed."""
    # Its period may have ended without a webhook that told us of the next one.
    period_ended = row.period_end is not None and row.period_end < timezone.now()
    try:
        changed = bool(items.add_missing(row) + items.remove_unused(row))
    except StripeRefused:
        # It may have ended meanwhile, or have other items than we know: that is no trouble of its own.
        before = row.subscription_id
        row = sync(row)
        if row.is_live and row.subscription_id == before:
            raise
        return False
    if changed or period_ended:
        sync(row)
    return changed


def look_at_subscriptions(seconds: float = LOOK_SECONDS) -> None:
    """Sync each subscription that may still change and was not synced for a day: webhooks may have been lost."""
    status = Subscription.Status
    ended = [status.NONE, status.CANCELED, status.INCOMPLETE_EXPIRED]
    now = timezone.now()
    isolation.for_each(
        Subscription.objects.exclude(status__in=ended).filter(
            Q(synced_at=None) | Q(synced_at__lt=now - LOOK_EACH)
        ),
        _look,
        what="A subscription could not be read",
        organization_of=lambda row: row.pk,
        seconds=seconds,
    )


def _look(row: Subscription) -> None:
    try:
        sync(row)
    except StripeAway as error:
        # One that Stripe answers for nobody else than this one is told in the end.
        if row.synced_at and row.synced_at < timezone.now() - LOOK_ALARM:
            isolation.tell_staff("A subscription could not be read for days", row.pk, error)
        raise
