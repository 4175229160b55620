"""The verbs that move money. Each is safe to run twice; `hold`, `capture` and `release` join the
caller's transaction, because a job and its money change together or not at all.
"""

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import ApiKey, Organization
from billing import budgets
from billing.budgets import InsufficientQuota, SpendLimitReached, TooManyInFlight
from billing.models import Credit, Hold, LedgerEntry, Price

__all__ = ["InsufficientQuota", "SpendLimitReached", "TooManyInFlight"]


def open_books(*, organization: Organization, trial_credit_micros: int) -> Credit:
    """A new organisation's credit row, with its trial credit when that is above zero."""
    with transaction.atomic():
        credit = Credit.objects.create(organization=organization)
        if trial_credit_micros:
            grant(
                organization=organization,
                amount_micros=trial_credit_micros,
                reason="Trial credit at sign-up",
            )
            credit.refresh_from_db()
    return credit


def grant(*, organization: Organization, amount_micros: int, reason: str) -> LedgerEntry:
    """Give an organisation prepaid credit; the reason is what staff and owner will read."""
    with transaction.atomic():
        Credit.objects.filter(organization=organization).update(
            granted_micros=F("granted_micros") + amount_micros
        )
        return LedgerEntry.objects.create(
            organization=organization,
            kind=LedgerEntry.Kind.GRANT,
            debit=LedgerEntry.Account.PROMOTIONS,
            credit=LedgerEntry.Account.CUSTOMER_CREDIT,
            amount_micros=amount_micros,
            reason=reason,
        )


def hold(*, organization: Organization, api_key: ApiKey | None, price: Price) -> Hold:
    """Reserve the price of one image. Call it inside a transaction, and roll that back on a refusal.

    Each test and its reservation are one UPDATE: a check followed by an insert lets parallel calls
    overdraw.

    Raises:
        InsufficientQuota: what is left does not cover the price, or a spend limit (SpendLimitReached).
        TooManyInFlight: as many images are in work as the organisation or the key may have at once.
    """
    # As they are now: the call may have been authenticated a slow upload ago.
    organization = Organization.objects.get(pk=organization.pk)
    api_key = ApiKey.objects.get(pk=api_key.pk) if api_key else None
    amount = price.amount_micros
    credit = Credit.objects.filter(organization=organization)
    covering = credit.filter(granted_micros__gte=F("pending_micros") + F("posted_micros") + amount)
    try:
        reserved = budgets.reserve(organization=organization, api_key=api_key, amount_micros=amount)
    except TooManyInFlight:
        # Who cannot pay is told so: waiting for a free place would not help.
        if not covering.exists():
            raise InsufficientQuota from None
        raise
    if not covering.update(pending_micros=F("pending_micros") + amount):
        raise InsufficientQuota
    row = credit.get()
    caps = [(row.pending_micros + row.posted_micros, row.granted_micros)]
    if reserved.cap is not None:
        caps.append(reserved.cap)
    reserved_micros, cap_micros = min(caps, key=lambda cap: cap[1] - cap[0])
    return Hold.objects.create(
        organization=organization,
        api_key=api_key,
        key_budget=reserved.key_budget,
        payer=Hold.Payer.CREDIT,
        price=price,
        amount_micros=amount,
        month=reserved.month,
        reserved_micros=reserved_micros,
        cap_micros=cap_micros,
    )


def capture(hold: Hold) -> bool:
    """Charge for a delivered image; False where the hold had ended before. Inside a transaction."""
    if not _end(hold, Hold.State.CAPTURED):
        return False
    budgets.settle(hold, captured=True)
    Credit.objects.filter(organization=hold.organization_id).update(
        pending_micros=F("pending_micros") - hold.amount_micros,
        posted_micros=F("posted_micros") + hold.amount_micros,
    )
    LedgerEntry.objects.create(
        organization_id=hold.organization_id,
        kind=LedgerEntry.Kind.CAPTURE,
        debit=LedgerEntry.Account.CUSTOMER_CREDIT,
        credit=LedgerEntry.Account.REVENUE,
        amount_micros=hold.amount_micros,
        hold=hold,
    )
    return True


def release(hold: Hold) -> bool:
    """Give the reserved money back; False where the hold had ended before. Inside a transaction."""
    if not _end(hold, Hold.State.RELEASED):
        return False
    budgets.settle(hold, captured=False)
    Credit.objects.filter(organization=hold.organization_id).update(
        pending_micros=F("pending_micros") - hold.amount_micros
    )
    return True


def _end(hold: Hold, state: Hold.State) -> bool:
    """The compare-and-set that lets a hold end exactly once."""
    ended_at = timezone.now()
    ended = Hold.objects.pending().filter(pk=hold.pk).update(state=state, ended_at=ended_at)
    if ended:
        hold.state, hold.ended_at = state, ended_at
    return bool(ended)
