"""The verbs that move money. Each is safe to run twice; `hold`, `capture` and `release` join the
caller's transaction, because a job and its money change together or not at all.
"""

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import ApiKey, Organization
from accounts.refusals import Refusal
from billing.models import Credit, Hold, LedgerEntry, Price


class InsufficientQuota(Refusal):
    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    # Its clients retry 429 by habit; here waiting does not help.
    headers = {"x-should-retry": "false"}
    text = (
        "Your organization has no credit left for this image. Nothing was charged. "
        "See the dashboard's Billing page for what is left."
    )


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
    """Reserve the price of one image. Call it inside a transaction.

    Test and reservation are one UPDATE: a check followed by an insert lets parallel calls overdraw.

    Raises:
        InsufficientQuota: what is left does not cover the price; nothing was reserved.
    """
    covered = Credit.objects.filter(
        organization=organization,
        granted_micros__gte=F("pending_micros") + F("posted_micros") + price.amount_micros,
    )
    if not covered.update(pending_micros=F("pending_micros") + price.amount_micros):
        raise InsufficientQuota
    credit = Credit.objects.get(organization=organization)
    return Hold.objects.create(
        organization=organization,
        api_key=api_key,
        payer=Hold.Payer.CREDIT,
        price=price,
        amount_micros=price.amount_micros,
        cap_micros=credit.granted_micros,
    )


def capture(hold: Hold) -> bool:
    """Charge for a delivered image; False where the hold had ended before. Inside a transaction."""
    if not _end(hold, Hold.State.CAPTURED):
        return False
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
