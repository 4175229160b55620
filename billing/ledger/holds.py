"""Holds: the price of an image is reserved before the work, and then captured or released.

Each function joins the caller's transaction, because a job and its money change together or not at all.
`capture` and `release` are safe to run twice.
"""

from contextlib import suppress
from datetime import datetime

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from accounts.models import ApiKey, Organization
from billing.ledger import budgets, payers, usage_hours
from billing.ledger.budgets import InsufficientQuota, SpendLimitReached, TooManyInFlight
from billing.models import Credit, Hold, LedgerEntry, Price, Subscription

__all__ = ["InsufficientQuota", "SpendLimitReached", "TooManyInFlight"]


def place(*, organization: Organization, api_key: ApiKey | None, price: Price) -> Hold:
    """Reserve the price of one image. Call it inside a transaction, and roll that back on a refusal.

    `price` is the one in force; a subscription that Stripe has not confirmed at it yet pays its older one.
    `api_key` must have been read in this transaction, so that its cap and limits are those in force.
    Each test and its reservation are one UPDATE: a check followed by an insert lets parallel calls
    overdraw.

    Raises:
        InsufficientQuota: nobody can pay (payers.py says why), or a spend limit (SpendLimitReached).
        TooManyInFlight: as many images are in flight as the organization or the key may have at once.
    """
    # As it is now: the call may have been authenticated a slow upload ago.
    organization = Organization.objects.select_related("subscription").get(pk=organization.pk)
    subscription: Subscription | None = getattr(organization, "subscription", None)
    payers.refuse_frozen(subscription)
    if _credit_covering(organization, price.amount_micros).exists():
        # A savepoint: where another call takes the last of the credit, the subscription may still pay.
        with suppress(CreditTaken), transaction.atomic(savepoint=subscription is not None):
            return _place_on_credit(organization, api_key, price)
    return _place_on_subscription(organization, api_key, subscription, price)


class CreditTaken(Exception):
    """Another call took what was left of the credit after it was read and before it was reserved."""


def _credit_covering(organization: Organization, amount_micros: int) -> QuerySet[Credit]:
    """The organization's credit row, if it covers that amount."""
    needed = F("pending_micros") + F("posted_micros") + amount_micros
    return Credit.objects.filter(organization=organization, granted_micros__gte=needed)


def _place_on_credit(organization: Organization, api_key: ApiKey | None, price: Price) -> Hold:
    amount = price.amount_micros
    reserved = budgets.reserve(
        organization=organization, api_key=api_key, amount_micros=amount, payer=Hold.Payer.CREDIT
    )
    if not _credit_covering(organization, amount).update(
        pending_micros=F("pending_micros") + amount
    ):
        raise CreditTaken
    credit = Credit.objects.get(organization=organization)
    own = (credit.pending_micros + credit.posted_micros, credit.granted_micros)
    return _create_hold(
        organization=organization,
        api_key=api_key,
        price=price,
        reserved=reserved,
        payer=Hold.Payer.CREDIT,
        payers_caps=[own],
    )


def _place_on_subscription(
    organization: Organization,
    api_key: ApiKey | None,
    subscription: Subscription | None,
    price: Price,
) -> Hold:
    price = payers.subscribed_price(subscription, price)
    amount = price.amount_micros
    reserved = budgets.reserve(
        organization=organization,
        api_key=api_key,
        amount_micros=amount,
        payer=Hold.Payer.SUBSCRIPTION,
    )
    grace = payers.grace_cap(organization.subscription, reserved)
    return _create_hold(
        organization=organization,
        api_key=api_key,
        price=price,
        reserved=reserved,
        payer=Hold.Payer.SUBSCRIPTION,
        payers_caps=[grace] if grace else [],
    )


def _create_hold(
    *,
    organization: Organization,
    api_key: ApiKey | None,
    price: Price,
    reserved: budgets.Reservation,
    payer: Hold.Payer,
    payers_caps: list[tuple[int, int]],
) -> Hold:
    """Create the hold, with the tightest of the caps that admitted it."""
    reserved_micros, cap_micros = min(
        [*payers_caps, *reserved.caps],
        key=lambda cap: cap[1] - cap[0],
        default=(reserved.spent_micros, None),
    )
    return Hold.objects.create(
        organization=organization,
        api_key=api_key,
        key_budget=reserved.key_budget,
        payer=payer,
        price=price,
        amount_micros=price.amount_micros,
        month=reserved.month,
        reserved_micros=reserved_micros,
        cap_micros=cap_micros,
    )


def capture(hold: Hold) -> bool:
    """Charge for a delivered image; False where the hold had ended before. Inside a transaction.

    What the subscription pays is reported to Stripe from the hold itself: see reporting/batching.py.
    """
    captured_at = _end(hold, Hold.State.CAPTURED)
    if captured_at is None:
        return False
    budgets.settle(hold, captured=True)
    if hold.payer == Hold.Payer.CREDIT:
        Credit.objects.filter(organization=hold.organization_id).update(
            pending_micros=F("pending_micros") - hold.amount_micros,
            posted_micros=F("posted_micros") + hold.amount_micros,
        )
    LedgerEntry.objects.create(
        organization_id=hold.organization_id,
        kind=LedgerEntry.Kind.CAPTURE,
        debit=account_of(hold),
        credit=LedgerEntry.Account.REVENUE,
        amount_micros=hold.amount_micros,
        hold=hold,
        created_at=captured_at,
    )
    usage_hours.add(hold, at=captured_at)
    return True


def account_of(hold: Hold) -> LedgerEntry.Account:
    """The account that pays for the image: what we owe the customer, or what the customer owes us."""
    if hold.payer == Hold.Payer.CREDIT:
        return LedgerEntry.Account.CUSTOMER_CREDIT
    return LedgerEntry.Account.RECEIVABLE


def release(hold: Hold) -> bool:
    """Give the reserved money back; False where the hold had ended before. Inside a transaction."""
    if _end(hold, Hold.State.RELEASED) is None:
        return False
    budgets.settle(hold, captured=False)
    if hold.payer == Hold.Payer.CREDIT:
        Credit.objects.filter(organization=hold.organization_id).update(
            pending_micros=F("pending_micros") - hold.amount_micros
        )
    return True


def _end(hold: Hold, state: Hold.State) -> datetime | None:
    """The compare-and-set that lets a hold end exactly once: when it did, or None where it had before."""
    ended_at = timezone.now()
    if not Hold.objects.pending().filter(pk=hold.pk).update(state=state, ended_at=ended_at):
        return None
    hold.state, hold.ended_at = state, ended_at
    return ended_at
