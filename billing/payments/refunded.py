"""What was sent back to cards: by us, for a refund in the ledger, or at Stripe by hand.

| it happens | debit | credit |
|---|---|---|
| a refund of ours reaches the card | receivable | stripe |
| somebody refunds a payment in Stripe's dashboard | revenue | stripe |
| the card's bank does not take it | stripe | whatever was debited |
"""

import uuid

from django.db import transaction
from django.utils import timezone

from accounts.models import Organization
from billing.amounts import MICROS_PER_CENT, dollars_of_cents
from billing.gateway import payments as at_stripe
from billing.mails import notices
from billing.models import LedgerEntry, Refund, Subscription
from billing.payments.booking import Account, Kind, book, payment_of

BY_HAND = "made at Stripe"


def row_of_charge(charge_id: str) -> Subscription | None:
    """Whose payment it was, also where its customer is gone at Stripe; None: nobody's of ours.

    Raises:
        GatewayError
    """
    rows = Subscription.objects.select_related("organization")
    if payment := payment_of(charge_id):
        return rows.filter(organization=payment.organization_id).first()
    customer = at_stripe.find(charge_id).customer_id
    return rows.filter(customer_id=customer).first() if customer else None


def record(organization: Organization, charge_id: str) -> int:
    """Write all that was sent back of that payment; returns how many entries are new. Safe to repeat.

    Raises:
        GatewayError
    """
    return sum(record_one(organization, refund) for refund in at_stripe.refunds_of(charge_id))


@transaction.atomic
def record_one(organization: Organization, sent: at_stripe.CardRefund) -> bool:
    """Write one refund at Stripe; whether it told something new."""
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    ours = _refund_of(sent.reference)
    written = LedgerEntry.objects.filter(reference=sent.id).exists()
    if sent.came_back:
        return written and _record_return(organization, sent, ours)
    if written:
        return False
    if ours:
        return (
            _move(organization, sent, Kind.PAYOUT, Account.RECEIVABLE, ours.entry.reason)
            is not None
        )
    entry = _move(organization, sent, Kind.REFUND, Account.REVENUE, "Refund to your card")
    if entry is None:
        return False
    Refund.objects.create(
        organization=organization,
        entry=entry,
        to=Refund.To.CARD,
        cents=sent.cents,
        by=BY_HAND,
        stripe_id=sent.id,
        done_at=timezone.now(),
    )
    notices.note(
        "refund_at_stripe",
        subject=sent.id,
        charge=sent.charge_id,
        amount=dollars_of_cents(sent.cents),
        organization_name=organization.name,
    )
    return True


def _refund_of(reference: str) -> Refund | None:
    """Our refund of that reference, which whoever writes to Stripe's metadata could have made up."""
    try:
        named = uuid.UUID(reference)
    except ValueError:
        return None
    return Refund.objects.select_related("entry").filter(reference=named).first()


def _record_return(
    organization: Organization, sent: at_stripe.CardRefund, ours: Refund | None
) -> bool:
    entry = book(
        organization=organization.pk,
        kind=Kind.PAYOUT,
        debit=Account.STRIPE,
        credit=Account.RECEIVABLE if ours else Account.REVENUE,
        amount_micros=sent.cents * MICROS_PER_CENT,
        reference=f"{sent.id}:failed",
        reason="The refund did not reach your card",
    )
    if entry:
        notices.note(
            "refund_came_back",
            subject=sent.id,
            charge=sent.charge_id,
            amount=dollars_of_cents(sent.cents),
            organization_name=organization.name,
        )
    return entry is not None


def _move(
    organization: Organization,
    sent: at_stripe.CardRefund,
    kind: LedgerEntry.Kind,
    debit: LedgerEntry.Account,
    reason: str,
) -> LedgerEntry | None:
    payment = payment_of(sent.charge_id)
    return book(
        organization=organization.pk,
        kind=kind,
        debit=debit,
        credit=Account.STRIPE,
        amount_micros=sent.cents * MICROS_PER_CENT,
        reference=sent.id,
        reason=reason,
        invoice=payment.invoice_id if payment else None,
    )
