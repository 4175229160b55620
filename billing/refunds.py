"""Money given back: one image, or an amount, with a reason. A compensating ledger entry, and nothing is changed.

What credit had paid becomes credit again. What the subscription had paid, or owes, is taken off the next
invoice by a credit on the customer's balance at Stripe; where no invoice will come, it is sent back to the cards
that paid. A periodic task does either after the transaction. `Refund.to` says which way it goes, or went.
"""

from datetime import timedelta

from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone

from accounts.models import Organization
from billing.amounts import MICROS_PER_CENT, dollars, dollars_of_cents
from billing.gateway import client as gateway
from billing.gateway import customers
from billing.gateway.errors import GatewayError, StripeRefused
from billing.ledger import entries, holds
from billing.mails import notices
from billing.models import Credit, Hold, LedgerEntry, LedgerQuerySet, Refund
from billing.models.payment import CANNOT_BE_SENT
from billing.payments import sending_back

ALARM_AFTER_TRIES = 5
# Who sends a form twice means it once.
SAME_AGAIN = timedelta(minutes=10)
LONGEST_REASON = 200  # characters, the column's length


# Somebody may subscribe again, and then it comes off an invoice.
TRY_UNSENDABLE_AGAIN = timedelta(days=1)


class NotRefundable(Exception):
    """Nothing was given back; the text says why."""


class NoCardLeft(Exception):
    """No invoice will come, and no card that paid can get the rest of a refund."""


def refund_image(*, hold: Hold, reason: str, by: str) -> Refund:
    """Give back what one image cost, once, to whoever paid for it.

    Raises:
        NotRefundable: it was not charged, was refunded before, or there is no reason.
    """
    if hold.state != Hold.State.CAPTURED:
        raise NotRefundable("This image was not charged, so there is nothing to give back.")
    return _refund(
        organization=hold.organization,
        accounts=[holds.account_of(hold)],
        amount_micros=hold.amount_micros,
        reason=reason,
        by=by,
        hold=hold,
    )


def refund_amount(
    *, organization: Organization, amount_micros: int, reason: str, by: str
) -> Refund:
    """Give back an amount: to whoever paid with the subscription where that was charged so much, else as credit.

    Raises:
        NotRefundable: it is nothing, more than was ever charged and not given back, or without a reason;
            or the same was given back for the same reason just now.
    """
    if amount_micros <= 0:
        raise NotRefundable("The amount must be above zero.")
    return _refund(
        organization=organization,
        accounts=[LedgerEntry.Account.RECEIVABLE, LedgerEntry.Account.CUSTOMER_CREDIT],
        amount_micros=amount_micros,
        reason=reason,
        by=by,
    )


def refundable_micros(organization: Organization, account: LedgerEntry.Account) -> int:
    """What was charged to that account, less what was given back to it."""
    entries = LedgerEntry.objects.for_organization(organization).order_by()
    charged = entries.filter(kind=LedgerEntry.Kind.CAPTURE, debit=account)
    given_back = entries.filter(kind=LedgerEntry.Kind.REFUND, credit__in=_given_by(account))
    return _sum(charged) - _sum(given_back)


def _given_by(account: LedgerEntry.Account) -> list[LedgerEntry.Account]:
    """The accounts that refunds of what it was charged are taken from; those made at Stripe by hand, from there."""
    by_hand = [LedgerEntry.Account.STRIPE] if account == LedgerEntry.Account.RECEIVABLE else []
    return [account, *by_hand]


def _sum(entries: LedgerQuerySet) -> int:
    return entries.aggregate(sum=Sum("amount_micros"))["sum"] or 0


@transaction.atomic
def _refund(
    *,
    organization: Organization,
    accounts: list[LedgerEntry.Account],
    amount_micros: int,
    reason: str,
    by: str,
    hold: Hold | None = None,
) -> Refund:
    """Give it back to the first of the accounts that was charged so much."""
    reason = reason.strip()
    if not reason:
        raise NotRefundable("Say why: the customer reads it on their ledger.")
    if len(reason) > LONGEST_REASON:
        raise NotRefundable(f"The reason is too long: at most {LONGEST_REASON} characters.")
    # One at a time, so that two cannot give the same money back. Before the credit, as wherever both are locked.
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    _refuse_second(organization, amount_micros, reason, hold)
    left = {account: refundable_micros(organization, account) for account in accounts}
    account = next((each for each in accounts if amount_micros <= left[each]), None)
    if account is None:
        most = dollars(max(left.values()))
        raise NotRefundable(f"Of what was charged, at most {most} can be given back at once.")
    before = _sum(_given_back_to_subscriptions(organization))
    entry = entries.post(
        organization=organization,
        kind=LedgerEntry.Kind.REFUND,
        debit=LedgerEntry.Account.REVENUE,
        credit=account,
        amount_micros=amount_micros,
        hold=hold,
        reason=reason,
    )
    if entry is None:
        raise NotRefundable("The amount must be above zero.")
    refund = Refund(organization=organization, entry=entry, by=by)
    if account == LedgerEntry.Account.CUSTOMER_CREDIT:
        refund.to = Refund.To.CREDIT
        Credit.objects.filter(organization=organization).update(
            granted_micros=F("granted_micros") + amount_micros
        )
    else:
        refund.cents = _whole_cents(before + amount_micros) - _whole_cents(before)
        refund.to = sending_back.way_of(organization, refund.cents)
        _book_rounding(refund)
    refund.done_at = None if refund.cents else timezone.now()
    refund.save()
    return refund


def _book_rounding(refund: Refund) -> None:
    """What the customer gets beside the refund's amount; below zero, for an earlier one brought it already."""
    entries.post(
        organization=refund.organization,
        kind=LedgerEntry.Kind.ROUNDING,
        debit=LedgerEntry.Account.ROUNDING,
        credit=LedgerEntry.Account.RECEIVABLE,
        amount_micros=refund.cents * MICROS_PER_CENT - refund.entry.amount_micros,
        reference=f"refund:{refund.reference}:rounding",
    )


def _refuse_second(
    organization: Organization, amount_micros: int, reason: str, hold: Hold | None
) -> None:
    refunds = LedgerEntry.objects.for_organization(organization).filter(
        kind=LedgerEntry.Kind.REFUND, hold=hold
    )
    if hold:
        if refunds.exists():
            raise NotRefundable("This image was refunded before.")
        return
    just_now = refunds.filter(created_at__gt=timezone.now() - SAME_AGAIN)
    if just_now.filter(amount_micros=amount_micros, reason=reason).exists():
        raise NotRefundable(
            "That amount was given back for that reason a moment ago. If it is meant twice, say so in the reason."
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
    """Send refunds on their way at Stripe; returns how many. Safe to run twice at once."""
    if not gateway.is_configured():
        return 0
    sent = 0
    for refund in Refund.objects.due().order_by("created_at")[:50]:
        try:
            sent += _send(refund)
        except StripeRefused:
            continue
        except GatewayError:
            # The next one would fare the same, and each costs as long as a call may take.
            break
    return sent


def _send(refund: Refund) -> bool:
    """Whether we have sent it; where Stripe did not take it, it waits, and the error is raised again."""
    # The previous release knows no other claim than `not_before`; the next one may leave it out.
    if not refund.claim(not_before=timezone.now() + Refund.LEASE):
        return False
    try:
        stripe_id = _give(refund)
    except NoCardLeft as why:
        refund.release(str(why), not_before=timezone.now() + TRY_UNSENDABLE_AGAIN)
        notices.note(
            "refund_unsendable",
            subject=str(refund.reference),
            organization_name=refund.organization.name,
            detail=str(why),
        )
        return False
    except GatewayError as error:
        refund.retry_later(error)
        if refund.tries >= ALARM_AFTER_TRIES:
            notices.note("refund_stuck", subject=str(refund.reference), detail=str(error))
        raise
    return refund.done(stripe_id=stripe_id)


def _give(refund: Refund) -> str:
    """Give what earlier attempts have not, and return the id of the credit on the balance, if it is one.

    Raises:
        GatewayError, NoCardLeft
    """
    cents = refund.cents
    if refund.tries > 1:
        before = sending_back.find_sent(refund)
        if before.credit_id:
            _note_way(refund, Refund.To.BALANCE)
            return before.credit_id
        cents -= before.card_cents
    if not cents:
        return ""
    # As things are now: since the refund was written the subscription may have ended, or begun.
    _note_way(refund, sending_back.way_of(refund.organization, cents))
    if refund.to == Refund.To.BALANCE:
        return customers.give_credit(
            customer_id=str(refund.organization.subscription.customer_id),
            cents=cents,
            description=refund.entry.reason,
            reference=str(refund.reference),
        )
    if left := sending_back.to_cards(refund, cents):
        raise NoCardLeft(f"{CANNOT_BE_SENT}: {dollars_of_cents(left)} of it. {_why(refund)}")
    return ""


def _note_way(refund: Refund, to: Refund.To) -> None:
    refund.to = to
    Refund.objects.filter(pk=refund.pk).update(to=to)


def _why(refund: Refund) -> str:
    if sending_back.card_payments(refund.organization).exists():
        return "No invoice is to come, and Stripe refunds no more of what was paid by card."
    return "No invoice is to come, and nothing was paid by card."


def where_to(refund: Refund) -> str:
    """Where the refund goes or went, as the end of a sentence about it."""
    if refund.entry.credit == LedgerEntry.Account.CUSTOMER_CREDIT:
        return " as credit"
    if refund.to == Refund.To.BALANCE:
        return ", off the next invoice"
    if refund.needs_staff or not sending_back.card_payments(refund.organization).exists():
        return ", but no invoice is to come and no card can get it: settle it by hand"
    return ", to the card that paid"
