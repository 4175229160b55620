"""The door through which money at Stripe is written into the ledger: `paid_micros` follows in the same transaction."""

from django.db import transaction
from django.db.models import F

from billing.ledger import entries
from billing.models import Invoice, LedgerEntry, Subscription

Account = LedgerEntry.Account
Kind = LedgerEntry.Kind


@transaction.atomic
def book(
    *,
    organization: int,
    kind: LedgerEntry.Kind,
    debit: LedgerEntry.Account,
    credit: LedgerEntry.Account,
    amount_micros: int,
    reference: str,
    reason: str = "",
    invoice: Invoice | int | None = None,
) -> LedgerEntry | None:
    """Write one transfer, once for its reference; a negative amount is the opposite transfer.

    `Subscription.paid_micros` always is what these entries moved to and from the balance at Stripe, fees
    left out. Returns None where there is nothing new to write.
    """
    if isinstance(invoice, int):
        invoice = Invoice.objects.get(pk=invoice)
    entry = entries.post(
        organization=organization,
        kind=kind,
        debit=debit,
        credit=credit,
        amount_micros=amount_micros,
        reference=reference,
        reason=reason,
        invoice=invoice,
    )
    if entry and kind != Kind.FEE:
        paid = (entry.debit == Account.STRIPE) - (entry.credit == Account.STRIPE)
        if paid:
            Subscription.objects.filter(organization=organization).update(
                paid_micros=F("paid_micros") + paid * entry.amount_micros
            )
    return entry


def book_fee(
    *, organization: int, micros: int | None, reference: str, invoice: Invoice | int | None = None
) -> LedgerEntry | None:
    """Write what Stripe kept; None where it has not told it yet, where it is nothing or was written before."""
    return book(
        organization=organization,
        kind=Kind.FEE,
        debit=Account.FEES,
        credit=Account.STRIPE,
        amount_micros=micros or 0,
        reference=reference,
        invoice=invoice,
    )


def payment_of(charge_id: str) -> LedgerEntry | None:
    """The entry of that charge's payment."""
    payments = LedgerEntry.objects.filter(kind=Kind.PAYMENT, reference=charge_id)
    found: LedgerEntry | None = payments.select_related("invoice").first()
    return found
