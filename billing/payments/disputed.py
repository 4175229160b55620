"""Payments that a card's bank takes back: what the ledger says of a dispute and of its fees.

| it happens | debit | credit |
|---|---|---|
| the bank takes the money | disputed | stripe |
| the dispute is won: the money is back | stripe | disputed |
| it is lost | losses | disputed |
| a lost one is won after an appeal | stripe | losses |
| fees of the dispute (given back: the reverse) | fees | stripe |
"""

from django.db import transaction

from accounts.models import Organization
from billing.amounts import MICROS_PER_CENT
from billing.gateway.payments import Dispute
from billing.models import LedgerEntry
from billing.payments.booking import Account, Kind, book, book_fee, payment_of

# After a dispute was lost, its bank may be asked to look again; until then the money stays there.
LOST = ("lost", "appeal_needs_response", "appeal_under_review")


@transaction.atomic
def record(organization: Organization, dispute: Dispute) -> None:
    """Write where the money of a disputed payment is now. Safe to repeat, in any order of events."""
    if not dispute.took_money:
        return
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    _move(organization, dispute, Kind.DISPUTE, debit=Account.DISPUTED, credit=Account.STRIPE)
    lost, won = f"{dispute.id}:lost", f"{dispute.id}:won"
    if dispute.status == "won":
        # It may have been lost before, and won by an appeal.
        at = Account.LOSSES if _is_written(lost) else Account.DISPUTED
        _move(organization, dispute, Kind.DISPUTE_WON, debit=Account.STRIPE, credit=at)
    elif dispute.status in LOST and not _is_written(won):
        _move(
            organization, dispute, Kind.DISPUTE_LOST, debit=Account.LOSSES, credit=Account.DISPUTED
        )
    payment = payment_of(dispute.charge_id)
    for movement, micros in dispute.fees_micros.items():
        book_fee(
            organization=organization.pk,
            micros=micros,
            reference=f"{movement}:fee",
            invoice=payment.invoice_id if payment else None,
        )


# Kind → the word after the dispute's id in the entry's reference.
WORDS = {Kind.DISPUTE: "opened", Kind.DISPUTE_WON: "won", Kind.DISPUTE_LOST: "lost"}


def _move(
    organization: Organization,
    dispute: Dispute,
    kind: LedgerEntry.Kind,
    *,
    debit: LedgerEntry.Account,
    credit: LedgerEntry.Account,
) -> None:
    payment = payment_of(dispute.charge_id)
    book(
        organization=organization.pk,
        kind=kind,
        debit=debit,
        credit=credit,
        amount_micros=dispute.cents * MICROS_PER_CENT,
        reference=f"{dispute.id}:{WORDS[kind]}",
        invoice=payment.invoice_id if payment else None,
    )


def _is_written(reference: str) -> bool:
    return LedgerEntry.objects.filter(reference=reference).exists()
