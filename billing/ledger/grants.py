"""Credit rows of organizations, and grants of credit: at sign-up and by staff."""

from django.db import transaction
from django.db.models import F

from accounts.models import Organization
from billing.models import Credit, LedgerEntry

# Entries never change, so neither may the words: trial.py looks for them.
TRIAL_REASON = "Trial credit at sign-up"


def create_credit(*, organization: Organization, trial_credit_micros: int) -> Credit:
    """Create a new organization's credit row, with trial credit where that is above zero."""
    with transaction.atomic():
        credit = Credit.objects.create(organization=organization)
        if trial_credit_micros:
            grant(
                organization=organization,
                amount_micros=trial_credit_micros,
                reason=TRIAL_REASON,
            )
            credit.refresh_from_db()
    return credit


def grant(*, organization: Organization, amount_micros: int, reason: str) -> LedgerEntry:
    """Give an organization prepaid credit; `reason` is read by staff and by the organization."""
    with transaction.atomic():
        Credit.objects.get_or_create(organization=organization)
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
