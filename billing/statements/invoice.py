"""The statement of one invoice: from the images that it bills to what is still to be paid.

Rows that it reads: the invoice, its lines, sums over their batches, the ledger's entries about it, and `UsageHour`.
No query loads images one by one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime

from django.db.models import Q

from accounts.models import Organization
from billing.amounts import MICROS_PER_CENT
from billing.models import Invoice, InvoiceLine, LedgerEntry
from billing.statements import balance, next_invoice
from billing.statements.claims import (
    ClaimsOfPrice,
    carried_from,
    claims_of,
    reasons_of,
    span_of,
)
from billing.statements.figures import (
    Figure,
    InvoiceStatement,
    PriceFigures,
    Use,
    by_size,
    name_of,
    title_of,
)
from billing.statements.use import delivered, use_of
from billing.statements.words import words_of

Account = LedgerEntry.Account
Kind = LedgerEntry.Kind
EARLIER_INVOICES = "Carried from earlier invoices"
NOT_BOOKED = "Paid, and not in our books yet"


def find(organization: Organization, name: str) -> Invoice | None:
    """The organization's invoice of that number or id at Stripe."""
    named = Q(number=name) | Q(stripe_id=name)
    return (
        Invoice.objects.for_organization(organization)
        .filter(named)
        .exclude(status=Invoice.Status.DELETED)
        .select_related("organization")
        .first()
    )


def statement_of(invoice: Invoice) -> InvoiceStatement:
    """All figures of the invoice; of a draft, what it will say as far as we know."""
    if not invoice.is_final:
        return next_invoice.of_draft(invoice)
    span = span_of(invoice)
    claims = claims_of(invoice, *span) if span else {}
    payments, afterwards = _payments(invoice)
    return InvoiceStatement(
        organization=str(invoice.organization),
        invoice=name_of(invoice),
        kind=invoice.kind,
        status=invoice.status,
        period_start=span[0] if span else invoice.period_start,
        period_end=span[1] if span else invoice.period_end,
        finalized_at=invoice.finalized_at,
        prices=[_price_figures(line, claims) for line in lines_of(invoice)],
        other_micros=invoice.other_cents * MICROS_PER_CENT,
        tax_micros=invoice.tax_cents * MICROS_PER_CENT,
        total_micros=invoice.total_cents * MICROS_PER_CENT,
        credits=balance.taken_by(invoice),
        payments=payments,
        afterwards=afterwards,
        use=_use(invoice, claims, *span) if span else None,
    )


def _use(invoice: Invoice, claims: dict[int, ClaimsOfPrice], start: datetime, end: datetime) -> Use:
    """What was delivered in its period, and on which invoice it is."""
    by_invoice: dict[str, int] = defaultdict(int)
    for claims_of_price in claims.values():
        for other, images in claims_of_price.inside.items():
            by_invoice[name_of(other)] += images
    return use_of(
        delivered(invoice.organization, start, end),
        start,
        end,
        here=by_invoice.pop(name_of(invoice), 0),
        elsewhere=by_invoice,
        earlier=sum(claims_of_price.earlier for claims_of_price in claims.values()),
    )


def lines_of(invoice: Invoice) -> list[InvoiceLine]:
    """Its lines with all that a statement names, by size and price version."""
    lines = invoice.lines.select_related("price", "invoice", "carried_by__invoice")
    return sorted(lines.prefetch_related("carries__invoice"), key=lambda line: by_size(line.price))


def _price_figures(line: InvoiceLine, claims: dict[int, ClaimsOfPrice]) -> PriceFigures:
    return PriceFigures(
        model=title_of(line.price.model),
        size=line.price.size,
        unit_micros=line.price.amount_micros,
        images=line.quantity,
        claimed_micros=line.claimed_cents * MICROS_PER_CENT,
        carried=_carried(line),
        error_micros=line.error_cents * MICROS_PER_CENT,
        carried_to=name_of(line.carried_by.invoice) if line.carried_by else "",
        stripe_images=line.stripe_quantity,
        stripe_micros=line.stripe_cents * MICROS_PER_CENT,
        correction_micros=line.correction_cents * MICROS_PER_CENT,
        reasons=reasons_of(line, claims.get(line.price_id, ClaimsOfPrice())),
    )


def _carried(line: InvoiceLine) -> list[Figure]:
    """What earlier lines billed wrong and this one makes good, by invoice."""
    found = [carried_from(earlier) for earlier in line.carries.all() if earlier.error_cents]
    rest = line.carried_cents * MICROS_PER_CENT - sum(figure.micros for figure in found)
    return [*found, Figure(EARLIER_INVOICES, rest)] if rest else found


def _payments(invoice: Invoice) -> tuple[list[Figure], list[Figure]]:
    """What was paid or written off of it, and what happened to the money afterwards."""
    entries = (
        LedgerEntry.objects.filter(invoice=invoice)
        .exclude(kind__in=[Kind.ROUNDING, Kind.TAX, Kind.OTHER, Kind.FEE])
        .order_by("created_at", "pk")
    )
    paid: list[Figure] = []
    afterwards: list[Figure] = []
    booked = 0
    for entry in entries:
        figure = Figure(words_of(entry), entry.amount_micros, entry.created_at)
        if entry.kind not in {Kind.PAYMENT, Kind.WRITE_OFF}:
            afterwards.append(figure)
            continue
        if entry.debit == Account.RECEIVABLE:
            figure = replace(figure, micros=-figure.micros)
        booked += figure.micros if entry.kind == Kind.PAYMENT else 0
        paid.append(figure)
    if rest := invoice.paid_cents * MICROS_PER_CENT - booked:
        paid.append(Figure(NOT_BOOKED, rest))
    return paid, afterwards
