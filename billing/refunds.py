"""Money given back: one image, or an amount, with a reason. A compensating ledger entry, and nothing is changed.

What credit had paid becomes credit again. What the subscription had paid, or owes, is taken off the next
invoice by a credit on the customer's balance at Stripe, which a chore sends after the transaction.
"""

from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import F, Sum
from django.utils import timezone

from accounts.models import Organization
from billing import ledger, notices, sender
from billing.gateway import client as gateway
from billing.gateway import customers
from billing.gateway.errors import GatewayError, StripeAway
from billing.models import Credit, Hold, LedgerEntry, LedgerQuerySet, Refund
from billing.stripe_catalog import MICROS_PER_CENT

ALARM_AFTER_TRIES = 5


class NotRefundable(Exception):
    """Nothing was given back; the text says why."""


def refund_image(*, hold: Hold, reason: str, by: str) -> Refund:
    """Give back what one image cost, once, to whoever paid for it.

    Raises:
        NotRefundable: it was not charged, was refunded before, or there is no reason.
    """
    if hold.state != Hold.State.CAPTURED:
        raise NotRefundable("This image was not charged, so there is nothing to give back.")
    try:
        return _refund(
            organization=hold.organization,
            account=ledger.account_of(hold),
            amount_micros=hold.amount_micros,
            reason=reason,
            by=by,
            hold=hold,
        )
    except IntegrityError as error:
        # Both databases name the constraint or its columns.
        if "ledger_once_for_each_hold" not in str(error) and "hold_id" not in str(error):
            raise
        raise NotRefundable("This image was refunded before.") from None


def refund_amount(
    *, organization: Organization, amount_micros: int, reason: str, by: str
) -> Refund:
    """Give back an amount: off the next invoice where there is a customer at Stripe, else as credit.

    Raises:
        NotRefundable: it is nothing, more than was ever charged and not given back, or without a reason.
    """
    if amount_micros <= 0:
        raise NotRefundable("The amount must be above zero.")
    with transaction.atomic():
        # One at a time, so that two cannot give the same money back.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        for account in (LedgerEntry.Account.RECEIVABLE, LedgerEntry.Account.CUSTOMER_CREDIT):
            if amount_micros <= refundable_micros(organization, account):
                return _refund(
                    organization=organization,
                    account=account,
                    amount_micros=amount_micros,
                    reason=reason,
                    by=by,
                )
    raise NotRefundable("That is more than was charged and not given back yet.")


def refundable_micros(organization: Organization, account: LedgerEntry.Account) -> int:
    """What was charged to that account, less what was given back to it."""
    entries = LedgerEntry.objects.for_organization(organization).order_by()
    charged = entries.filter(kind=LedgerEntry.Kind.CAPTURE, debit=account)
    given_back = entries.filter(kind=LedgerEntry.Kind.REFUND, credit=account)
    return _sum(charged) - _sum(given_back)


def _sum(entries: LedgerQuerySet) -> int:
    return entries.aggregate(sum=Sum("amount_micros"))["sum"] or 0


@transaction.atomic
def _refund(
    *,
    organization: Organization,
    account: LedgerEntry.Account,
    amount_micros: int,
    reason: str,
    by: str,
    hold: Hold | None = None,
) -> Refund:
    if not reason.strip():
        raise NotRefundable("Say why: the customer reads it on their ledger.")
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    before = _sum(_given_back_to_subscriptions(organization))
    entry = LedgerEntry.objects.create(
        organization=organization,
        kind=LedgerEntry.Kind.REFUND,
        debit=LedgerEntry.Account.REVENUE,
        credit=account,
        amount_micros=amount_micros,
        hold=hold,
        reason=reason.strip(),
    )
    cents = 0
    if account == LedgerEntry.Account.CUSTOMER_CREDIT:
        Credit.objects.filter(organization=organization).update(
            granted_micros=F("granted_micros") + amount_micros
        )
    else:
        cents = _whole_cents(before + amount_micros) - _whole_cents(before)
    done = None if cents else timezone.now()
    return Refund.objects.create(
        organization=organization, entry=entry, cents=cents, by=by, sent_at=done
    )


def _given_back_to_subscriptions(organization: Organization) -> LedgerQuerySet:
    return (
        LedgerEntry.objects.for_organization(organization)
        .order_by()
        .filter(kind=LedgerEntry.Kind.REFUND, credit=LedgerEntry.Account.RECEIVABLE)
    )


def _whole_cents(micros: int) -> int:
    """Rounded up: the customer is never given less than was written."""
    return -(-micros // MICROS_PER_CENT)


def send_due() -> int:
    """Put refunds on the customers' balances at Stripe; returns how many. Safe to run twice at once."""
    if not gateway.is_configured():
        return 0
    due = Refund.objects.filter(sent_at=None, not_before__lte=timezone.now())
    waiting = due.select_related("entry", "organization__subscription")
    return sum(_send(refund) for refund in waiting.order_by("created_at")[:50])


def _send(refund: Refund) -> bool:
    row = Refund.objects.filter(pk=refund.pk, sent_at=None)
    if not row.filter(tries=refund.tries).update(
        tries=F("tries") + 1, not_before=timezone.now() + timedelta(minutes=2)
    ):
        return False
    subscription = getattr(refund.organization, "subscription", None)
    try:
        if subscription is None or not subscription.customer_id:
            raise StripeAway("The organization has no customer at Stripe (any more).")
        stripe_id = customers.give_credit(
            customer_id=subscription.customer_id,
            cents=refund.cents,
            description=refund.entry.reason,
            reference=str(refund.reference),
        )
    except GatewayError as error:
        row.update(note=str(error)[:500], not_before=sender.later(refund.tries + 1))
        if refund.tries + 1 >= ALARM_AFTER_TRIES:
            notices.note("refund_stuck", subject=str(refund.reference), detail=str(error))
        return False
    return bool(row.update(stripe_id=stripe_id, sent_at=timezone.now(), note=""))
