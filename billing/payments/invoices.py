"""What the ledger says of an invoice: what it asks for beside images, what was paid on it, what was given up.

| it happens | debit | credit |
|---|---|---|
| the invoice becomes final: images rounded to the cent | receivable | rounding |
| tax on it | receivable | taxes |
| lines that are neither images nor corrections of ours, discounts | receivable | other |
| a card pays | stripe | receivable |
| Stripe keeps its fee | fees | stripe |
| it is paid outside Stripe | other | receivable |
| it is voided, or counts as uncollectible | losses | receivable |
| its tax, where it is voided | taxes | receivable |
| it is paid after all | receivable | losses |

Each of them may run again: an entry is written once for its reference.
"""

from datetime import timedelta

from django.db import transaction
from django.db.models import CharField, Exists, OuterRef, Sum, Value
from django.db.models.functions import Concat
from django.utils import timezone

from accounts.models import Organization
from billing.amounts import MICROS_PER_CENT, dollars
from billing.gateway import payments as at_stripe
from billing.gateway.errors import StripeRefused
from billing.mails import notices
from billing.models import Invoice, LedgerEntry, LedgerQuerySet
from billing.payments.booking import Account, Kind, book, book_fee

# Stripe tells the fee of a card's payment at once, and of other ways to pay within days.
FEES_ASKED_FOR = timedelta(days=14)
FEE = ":fee"


@transaction.atomic
def book_final(invoice: Invoice) -> None:
    """Write what a final invoice asks for beside the images themselves, so that it and the ledger are the same sum.

    In the transaction that writes `finalized_at`, when its lines say what they claim and bill.
    """
    rounding = billed = 0
    for line in invoice.lines.select_related("price"):
        claimed = line.quantity * line.price.amount_micros
        rounding += line.claimed_cents * MICROS_PER_CENT - claimed
        billed += line.billed_cents
    others = invoice.total_cents - invoice.tax_cents - billed
    for kind, account, micros in (
        (Kind.ROUNDING, Account.ROUNDING, rounding),
        (Kind.TAX, Account.TAXES, invoice.tax_cents * MICROS_PER_CENT),
        (Kind.OTHER, Account.OTHER, others * MICROS_PER_CENT),
    ):
        book(
            organization=invoice.organization_id,
            kind=kind,
            debit=Account.RECEIVABLE,
            credit=account,
            amount_micros=micros,
            reference=f"{invoice.stripe_id}:{kind.value}",
            invoice=invoice,
        )


def record(invoice: Invoice) -> None:
    """Write what was paid on a final invoice, and what is not collected any more. After each look at it.

    It asks Stripe, so never inside a transaction.

    Raises:
        GatewayError
    """
    if not invoice.stripe_id or not invoice.is_final:
        return
    # Where nothing was due, a credit or the next invoice has settled it.
    charges = at_stripe.of_invoice(invoice.stripe_id) if invoice.due_cents else []
    with transaction.atomic():
        Organization.objects.select_for_update(no_key=True).get(pk=invoice.organization_id)
        invoice.refresh_from_db()
        for charge in charges:
            _book_charge(invoice, charge)
        _book_paid_elsewhere(invoice)
        invoice.paid_cents = _paid_micros(invoice) // MICROS_PER_CENT
        Invoice.objects.filter(pk=invoice.pk).update(paid_cents=invoice.paid_cents)
        _book_written_off(invoice)


def _book_charge(invoice: Invoice, charge: at_stripe.Charge) -> None:
    book(
        organization=invoice.organization_id,
        kind=Kind.PAYMENT,
        debit=Account.STRIPE,
        credit=Account.RECEIVABLE,
        amount_micros=charge.cents * MICROS_PER_CENT,
        reference=charge.id,
        invoice=invoice,
    )
    book_fee(
        organization=invoice.organization_id,
        micros=charge.fee_micros,
        reference=f"{charge.id}{FEE}",
        invoice=invoice,
    )


def _book_paid_elsewhere(invoice: Invoice) -> None:
    """What no charge has paid of a paid invoice came by a way that Stripe does not see."""
    if invoice.status != Invoice.Status.PAID:
        return
    book(
        organization=invoice.organization_id,
        kind=Kind.PAYMENT,
        debit=Account.OTHER,
        credit=Account.RECEIVABLE,
        amount_micros=max(invoice.due_cents * MICROS_PER_CENT - _paid_micros(invoice), 0),
        reference=f"{invoice.stripe_id}:elsewhere",
        reason="paid outside Stripe",
        invoice=invoice,
    )


def _paid_micros(invoice: Invoice) -> int:
    return _sum(LedgerEntry.objects.filter(invoice=invoice, kind=Kind.PAYMENT))


def _given_up(invoice: Invoice, kind: LedgerEntry.Kind) -> LedgerQuerySet:
    """Entries about the invoice as a whole; use that no invoice could bill is written off under other names."""
    named = f"{invoice.stripe_id}:{kind.value}"
    return LedgerEntry.objects.filter(invoice=invoice, kind=kind, reference__startswith=named)


def _sum(rows: LedgerQuerySet) -> int:
    return rows.aggregate(sum=Sum("amount_micros"))["sum"] or 0


def _book_written_off(invoice: Invoice) -> None:
    """What is given up of the invoice is its loss as long as it is; what was given up and is paid is none any more.

    An uncollectible invoice may be paid or voided later. A voided one gives back what it took from the customer's
    balance, so all that it asked for is lost, except for its tax, which is not owed either:
    https://docs.stripe.com/invoicing/overview#void
    """
    tax = 0
    if invoice.status == Invoice.Status.VOID:
        tax = invoice.tax_cents * MICROS_PER_CENT
        book(
            organization=invoice.organization_id,
            kind=Kind.TAX,
            debit=Account.TAXES,
            credit=Account.RECEIVABLE,
            amount_micros=tax,
            reference=f"{invoice.stripe_id}:tax_void",
            invoice=invoice,
        )
    asked_for = {
        Invoice.Status.VOID: invoice.total_cents,
        Invoice.Status.UNCOLLECTIBLE: invoice.due_cents,
    }.get(Invoice.Status(invoice.status), 0)
    lost = max(asked_for * MICROS_PER_CENT - tax - _paid_micros(invoice), 0)
    before = {kind: _given_up(invoice, kind) for kind in (Kind.WRITE_OFF, Kind.WRITE_OFF_PAID)}
    more = lost - _sum(before[Kind.WRITE_OFF]) + _sum(before[Kind.WRITE_OFF_PAID])
    kind = Kind.WRITE_OFF if more > 0 else Kind.WRITE_OFF_PAID
    again = before[kind].count()
    entry = book(
        organization=invoice.organization_id,
        kind=kind,
        debit=Account.LOSSES,
        credit=Account.RECEIVABLE,
        amount_micros=more,
        reference=f"{invoice.stripe_id}:{kind.value}" + (f":{again + 1}" if again else ""),
        reason=invoice.get_status_display(),
        invoice=invoice,
    )
    if entry and kind == Kind.WRITE_OFF:
        notices.note(
            "invoice_written_off",
            subject=str(entry.reference),
            organization_name=invoice.organization.name,
            invoice=str(invoice),
            status=invoice.status,
            amount=dollars(more),
        )


def book_missing_fees() -> int:
    """Ask again for fees that Stripe had not told when the payment was recorded; returns how many it told now.

    Raises:
        GatewayError: it could not be asked; the next run makes up for it.
    """
    fee = LedgerEntry.objects.filter(
        reference=Concat(OuterRef("reference"), Value(FEE), output_field=CharField())
    )
    without = LedgerEntry.objects.filter(
        ~Exists(fee),
        kind=Kind.PAYMENT,
        debit=Account.STRIPE,
        created_at__gte=timezone.now() - FEES_ASKED_FOR,
    ).order_by("pk")
    told = 0
    for payment in without:
        try:
            charge = at_stripe.find(payment.reference)
        except StripeRefused:
            # What Stripe refuses for one says nothing about the others.
            continue
        entry = book_fee(
            organization=payment.organization_id,
            micros=charge.fee_micros,
            reference=f"{charge.id}{FEE}",
            invoice=payment.invoice_id,
        )
        told += entry is not None
    return told
