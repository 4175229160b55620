"""What an organization's balance at Stripe was given, and which invoice took it.

Stripe keeps one sum. Which refund an invoice took is told in order of time: what was given first is taken first.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from django.db.models import F
from django.utils import timezone

from accounts.models import Organization
from billing.amounts import MICROS_PER_CENT, dollars
from billing.ledger.ceilings import LEAST_CHARGE_MICROS
from billing.models import Invoice, Refund
from billing.statements.figures import Figure, name_of

OTHER_CREDIT = "Credit given at Stripe"
# Stripe charges no card for so little: it becomes a debt on the balance, which the next invoice asks for.
TOO_LITTLE = "Too little to charge: carried to the next invoice"
CARRIED = "Carried from an earlier invoice that was too small to charge"


def given(organization: Organization, *, until: datetime | None = None) -> list[Figure]:
    """Refunds on the balance, and invoices below zero, in the order of time.

    Args:
        organization: Whose balance it is.
        until: What was on the balance at that moment; None: all of it, also refunds that are still to be sent there.
    """
    refunds = Refund.objects.filter(
        organization=organization, to=Refund.To.BALANCE, cents__gt=0
    ).select_related("entry")
    if until:
        refunds = refunds.filter(done_at__lte=until)
    figures = [
        Figure(
            f"Refund: {refund.entry.reason}",
            refund.cents * MICROS_PER_CENT,
            refund.done_at or timezone.now(),
        )
        for refund in refunds
    ]
    for invoice in _taking(organization, until=until):
        cents = invoice.total_cents - invoice.due_cents
        if invoice.total_cents < 0 and cents < 0:
            figures.append(
                Figure(
                    "An invoice below zero",
                    -cents * MICROS_PER_CENT,
                    invoice.finalized_at,
                    name_of(invoice),
                )
            )
    return sorted(figures, key=lambda figure: figure.at or timezone.now())


def taken_by(invoice: Invoice) -> list[Figure]:
    """What came off the invoice, with the reasons of the refunds that it was; the sum is total less due.

    Below zero where the invoice itself gave: it became final with a total below zero.
    """
    micros = (invoice.total_cents - invoice.due_cents) * MICROS_PER_CENT
    if micros < 0 and invoice.total_cents >= 0:
        return [Figure(CARRIED, micros)]
    if micros < 0:
        return [Figure("Goes to the balance, for later invoices", micros)]
    if not micros:
        return []
    until = invoice.finalized_at
    earlier = [row for row in _taking(invoice.organization, until=until) if row.pk != invoice.pk]
    before = sum(_taken_micros(other) for other in earlier)
    found = _between(given(invoice.organization, until=until), before, before + micros)
    is_small = 0 < invoice.total_cents * MICROS_PER_CENT < LEAST_CHARGE_MICROS
    if is_small and not invoice.due_cents:
        found = [
            replace(figure, words=TOO_LITTLE) if figure.words == OTHER_CREDIT else figure
            for figure in found
        ]
    return found


def next_taken(organization: Organization, total_micros: int, *, after: int = 0) -> list[Figure]:
    """What will come off the next invoice of that total, where an earlier one takes `after` micro-dollars before it."""
    sources = given(organization)
    start = after + sum(_taken_micros(invoice) for invoice in _taking(organization))
    available = sum(figure.micros for figure in sources) - start
    if available < 0:
        return [Figure(CARRIED, available)]
    return _between(sources, start, start + max(min(total_micros, available), 0))


def _between(sources: list[Figure], start: int, end: int) -> list[Figure]:
    """The part of each source that lies from `start` to `end` of their running sum; the rest is others' credit."""
    found = []
    at = 0
    for source in sources:
        part = min(end, at + source.micros) - max(start, at)
        if part > 0:
            of = "" if part == source.micros else f" (part of {dollars(source.micros, 2)})"
            found.append(Figure(f"{source.words}{of}", part, source.at, source.invoice))
        at += source.micros
    rest = end - start - sum(figure.micros for figure in found)
    return [*found, Figure(OTHER_CREDIT, rest)] if rest else found


def _taking(organization: Organization, *, until: datetime | None = None) -> list[Invoice]:
    """Final invoices that took or gave credit; a void one has given it back. Few: total and due differ."""
    final = Invoice.objects.filter(organization=organization).final()
    if until:
        final = final.filter(finalized_at__lte=until)
    return list(final.exclude(status=Invoice.Status.VOID).exclude(total_cents=F("due_cents")))


def _taken_micros(invoice: Invoice) -> int:
    """Below zero where it asked for what an earlier one had carried."""
    if invoice.total_cents < 0:
        return 0
    return (invoice.total_cents - invoice.due_cents) * MICROS_PER_CENT
