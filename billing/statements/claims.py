"""Which images an invoice claims, and how they differ from what Stripe's meter counted: sums over batches of use.

A line keeps how many images it claims, so only batches that lie outside of its period are added up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, Min, Q, Sum

from billing.amounts import MICROS_PER_CENT
from billing.models import Invoice, InvoiceLine, UsageBatch, UsageBatchQuerySet
from billing.statements.figures import Figure, Images, name_of

BILLED_BEFORE = "counted by Stripe's meter again, but billed before"
EARLIER = "used in an earlier period"
NOT_COUNTED = "not counted by Stripe's meter in time"
NOT_DELIVERED = "counted by Stripe's meter, but not for this invoice"
NOT_METERED = "billed without Stripe's meter"


@dataclass
class ClaimsOfPrice:
    """Images of one price: `inside` the invoice's period and `earlier` by invoice, and what the meter has of them.

    `metered` are those that the meter counts in the period, as far as we know; `unmetered_earlier` are of an earlier
    period, and the meter does not count them in this one.
    """

    inside: dict[Invoice, int] = field(default_factory=dict)
    metered: dict[Invoice, int] = field(default_factory=dict)
    earlier: int = 0
    unmetered_earlier: int = 0


def span_of(invoice: Invoice) -> tuple[datetime, datetime] | None:
    """Its period; where Stripe gave none, from the first to the last of its images; None where it has no images.

    The second moment is not part of it.
    """
    if invoice.kind == Invoice.Kind.MANUAL:
        return None
    start, end = invoice.period_start, invoice.period_end
    if end and invoice.kind in Invoice.OWN:
        # Ours end with their last image.
        end += timedelta(microseconds=1)
    if start is None or end is None:
        batches = UsageBatch.objects.filter(invoice_line__invoice=invoice)
        found = batches.aggregate(first=Min("first_captured_at"), last=Max("last_captured_at"))
        if found["first"] is None:
            return None
        start = start or found["first"]
        end = end or found["last"] + timedelta(microseconds=1)
    return (start, end) if start < end else None


def claims_of(invoice: Invoice, start: datetime, end: datetime) -> dict[int, ClaimsOfPrice]:
    """Its claims by the price's id, and those of other invoices on use of its period.

    The batches that the meter counted are added up only for prices of which it counted other images; then the
    invoice before counts, too: it may have billed what was reported too late for it.
    """
    found = InvoiceLine.objects.filter(
        Q(invoice=invoice)
        | Q(
            invoice__organization=invoice.organization_id,
            invoice__period_end__gte=start,
            invoice__period_end__lte=end,
        )
    ).select_related("invoice")
    lines = {line.pk: line for line in found}
    own = {pk for pk, line in lines.items() if line.invoice_id == invoice.pk}
    differ = {lines[pk].price_id for pk in own if lines[pk].quantity != lines[pk].stripe_quantity}
    before = {pk for pk, line in lines.items() if _ends_at(line.invoice, start)}
    earlier = earlier_of(lines.keys() - before, start)
    metered_before = _metered_in(own, start, end, last_captured_at__lt=start) if differ else {}
    others = {pk for pk, line in lines.items() if line.price_id in differ} - own
    metered = _metered_in(others, start, end)
    claims: dict[int, ClaimsOfPrice] = {}
    for pk, line in lines.items():
        of_price = claims.setdefault(line.price_id, ClaimsOfPrice())
        of_price.inside[line.invoice] = 0 if pk in before else line.quantity - earlier[pk]
        if pk in own:
            of_price.earlier = earlier[pk]
            of_price.unmetered_earlier = earlier[pk] - metered_before.get(pk, 0)
        else:
            of_price.metered[line.invoice] = metered.get(pk, 0)
    return claims


def _ends_at(invoice: Invoice, moment: datetime) -> bool:
    """Whether all that it claims was captured before that moment, its end; ours end with their last image."""
    return invoice.period_end == moment and invoice.kind not in Invoice.OWN


def earlier_of(lines: Collection[int], start: datetime) -> Counter[int]:
    """Images of those lines that were captured before that moment, by the line's id: few of them, by an index."""
    rows = UsageBatch.objects.filter(invoice_line__in=list(lines), last_captured_at__lt=start)
    return Counter(_images(rows))


def _metered_in(
    lines: Collection[int], start: datetime, end: datetime, **more: Any
) -> dict[int, int]:
    """Images of those lines that the meter counts in the period, as far as we know, by the line's id."""
    return _images(
        UsageBatch.objects.filter(
            invoice_line__in=list(lines),
            state__in=UsageBatch.TAKEN,
            timestamp__gte=start,
            timestamp__lt=end,
            **more,
        )
    )


def _images(batches: UsageBatchQuerySet) -> dict[int, int]:
    rows = batches.order_by().values_list("invoice_line")
    return dict(rows.annotate(images=Sum("quantity")))


def reasons_of(line: InvoiceLine, claims: ClaimsOfPrice) -> list[Images]:
    """Why the line bills other images than Stripe's meter counted; they add up to the difference.

    What we cannot name is called by its sign: the meter had not counted it in time, or counted too much.
    """
    difference = line.quantity - line.stripe_quantity
    if not difference:
        return []
    if line.invoice.kind != Invoice.Kind.PERIOD:
        return [Images(NOT_METERED, difference)]
    found = [
        Images(BILLED_BEFORE, -images, name_of(invoice))
        for invoice, images in claims.metered.items()
        if invoice.pk != line.invoice_id and images
    ]
    if claims.unmetered_earlier:
        found.append(Images(EARLIER, claims.unmetered_earlier))
    rest = difference - sum(reason.images for reason in found)
    if rest:
        found.append(Images(NOT_COUNTED if rest > 0 else NOT_DELIVERED, rest))
    return found


def carried_from(line: InvoiceLine) -> Figure:
    """What an earlier line billed wrong, with the sign of what makes it good."""
    words = "Billed too much before" if line.error_cents > 0 else "Billed too little before"
    return Figure(words, -line.error_cents * MICROS_PER_CENT, invoice=name_of(line.invoice))
