"""Which images an invoice claims, and how they differ from what Stripe's meter counted: sums over batches of use.

The batches of an invoice and of others in its period are read in one query, by the lines that claim them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Max, Min, Q, Sum

from billing.amounts import MICROS_PER_CENT
from billing.models import Invoice, InvoiceLine, UsageBatch
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

    The invoice before counts only where the meter differs: it may have billed what was reported too late for it.
    """
    found = InvoiceLine.objects.filter(
        Q(invoice=invoice)
        | Q(
            invoice__organization=invoice.organization_id,
            invoice__period_end__gte=start,
            invoice__period_end__lte=end,
        )
    ).select_related("invoice")
    differ = any(
        line.quantity != line.stripe_quantity for line in found if line.invoice_id == invoice.pk
    )
    lines = {line.pk: line for line in found if differ or line.invoice.period_end != start}
    in_period = Q(last_captured_at__gte=start, last_captured_at__lt=end)
    metered = Q(state__in=UsageBatch.TAKEN, timestamp__gte=start, timestamp__lt=end)
    rows = (
        UsageBatch.objects.filter(invoice_line__in=list(lines))
        .order_by()
        .values("invoice_line")
        .annotate(
            inside=Sum("quantity", filter=in_period, default=0),
            metered=Sum("quantity", filter=metered, default=0),
            earlier=Sum("quantity", filter=Q(last_captured_at__lt=start), default=0),
            unmetered_earlier=Sum(
                "quantity", filter=Q(last_captured_at__lt=start) & ~metered, default=0
            ),
        )
    )
    claims: dict[int, ClaimsOfPrice] = {}
    for row in rows:
        line = lines[row["invoice_line"]]
        of_price = claims.setdefault(line.price_id, ClaimsOfPrice())
        of_price.inside[line.invoice] = row["inside"]
        of_price.metered[line.invoice] = row["metered"]
        if line.invoice_id == invoice.pk:
            of_price.earlier = row["earlier"]
            of_price.unmetered_earlier = row["unmetered_earlier"]
    return claims


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
