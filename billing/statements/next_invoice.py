"""What a draft, or the invoice that does not exist yet, will say: use that no invoice has claimed."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from django.db.models import Count, F, Q, Sum
from django.utils import timezone

from accounts.models import Organization
from billing.amounts import MICROS_PER_CENT
from billing.models import Hold, Invoice, InvoiceLine, Price, Subscription, UsageBatch
from billing.statements import balance
from billing.statements.claims import carried_from, earlier_of, span_of
from billing.statements.figures import (
    InvoiceStatement,
    PriceFigures,
    Use,
    by_size,
    name_of,
    title_of,
)
from billing.statements.use import Delivered, delivered, use_of

SO_FAR = "so far"


def so_far(organization: Organization) -> InvoiceStatement | None:
    """The current period until now, as the next invoice will have it; None where no period runs."""
    row = Subscription.objects.filter(organization=organization).first()
    if row is None or row.period_start is None:
        return None
    draft = (
        Invoice.objects.for_organization(organization)
        .drafts()
        .filter(kind=Invoice.Kind.PERIOD, period_end__isnull=False)
        .first()
    )
    after = draft.period_end if draft else None
    return _statement(
        organization,
        start=max(filter(None, [row.period_start, after])),
        end=timezone.now(),
        since=after,
        period_end=row.period_end if row.is_live else None,
        first=of_draft(draft) if draft else None,
    )


def of_draft(draft: Invoice) -> InvoiceStatement:
    """What the draft will say when it becomes final, tax aside: all that was captured before its period's end."""
    now = timezone.now()
    start, end = span_of(draft) or (draft.period_start or now, draft.period_end or now)
    return _statement(draft.organization, start=start, end=end, draft=draft)


def _statement(
    organization: Organization,
    *,
    start: datetime,
    end: datetime,
    since: datetime | None = None,
    period_end: datetime | None = None,
    draft: Invoice | None = None,
    first: InvoiceStatement | None = None,
) -> InvoiceStatement:
    """Unclaimed use before `end`, and not before `since`, as an invoice.

    A draft has claimed some of its use already. What is `first` takes what is carried, and the balance before us.
    """
    found = delivered(organization, start, end)
    claims = _claims_inside(organization, start, end)
    inside = _unclaimed(organization, found, claims, start, end)
    earlier = Counter() if since else _unclaimed_before(organization, start)
    if draft:
        lines = {line.pk: line for line in draft.lines.all()}
        before = earlier_of(lines, start)
        for pk, line in lines.items():
            inside[line.price_id] += line.quantity - before[pk]
            earlier[line.price_id] += before[pk]
    images = inside + earlier
    carried = {} if first else _carried(organization, draft)
    prices = [
        _price_figures(price, images[price.pk], carried.get(price.pk, []))
        for price in sorted(Price.objects.filter(pk__in={*images, *carried}), key=by_size)
    ]
    other = draft.other_cents * MICROS_PER_CENT if draft else 0
    total = sum(figures.billed_micros for figures in prices) + other
    return InvoiceStatement(
        organization=str(organization),
        invoice=name_of(draft),
        kind=draft.kind if draft else Invoice.Kind.PERIOD,
        status=draft.status if draft else SO_FAR,
        period_start=start,
        period_end=period_end or end,
        finalized_at=None,
        prices=prices,
        other_micros=other,
        tax_micros=0,
        total_micros=total,
        credits=balance.next_taken(
            organization, total, after=sum(taken.micros for taken in first.credits) if first else 0
        ),
        payments=[],
        afterwards=[],
        use=_use(found, claims, start, end, here=inside.total(), earlier=earlier.total()),
    )


def _price_figures(price: Price, images: int, carries: list[InvoiceLine]) -> PriceFigures:
    micros = images * price.amount_micros
    # Half up, as the line will be.
    cents = (2 * micros + MICROS_PER_CENT) // (2 * MICROS_PER_CENT)
    return PriceFigures(
        model=title_of(price.model),
        size=price.size,
        unit_micros=price.amount_micros,
        images=images,
        claimed_micros=cents * MICROS_PER_CENT,
        carried=[carried_from(line) for line in carries],
    )


def _unclaimed(
    organization: Organization,
    found: Delivered,
    claims: list[tuple[InvoiceLine, int]],
    start: datetime,
    end: datetime,
) -> Counter[int]:
    """Images of the period that the subscription pays and no invoice bills, by the price's id.

    That is what was delivered, less what lines claim of it: there may be a hundred thousand batches.
    """
    unclaimed = found.by_price.copy()
    for line, images in claims:
        unclaimed[line.price_id] -= images
    without_line = UsageBatch.objects.filter(
        Q(by_invoice=True) | Q(write_off__isnull=False),
        organization=organization,
        last_captured_at__gte=start,
        last_captured_at__lt=end,
    )
    for batch in without_line.filter(invoice_line=None):
        if batch.write_off_id or batch.done_at:
            unclaimed[batch.price_id] -= batch.quantity
    return +unclaimed


def _claims_inside(
    organization: Organization, start: datetime, end: datetime
) -> list[tuple[InvoiceLine, int]]:
    """Lines that claim images of the period, and how many."""
    lines = InvoiceLine.objects.filter(
        Q(invoice__period_end__gt=start)
        | Q(invoice__period_end=start, invoice__kind__in=Invoice.OWN),
        invoice__organization=organization,
        quantity__gt=0,
    ).select_related("invoice")
    within = {line.pk: line for line in lines if _ends_before(line.invoice, end)}
    later = [line for line in lines if line.pk not in within]
    earlier = earlier_of(within, start)
    found = [(line, line.quantity - earlier[pk]) for pk, line in within.items()]
    for line in later:
        batches = line.batches.filter(last_captured_at__gte=start, last_captured_at__lt=end)
        found.append((line, batches.aggregate(sum=Sum("quantity", default=0))["sum"]))
    return found


def _ends_before(invoice: Invoice, moment: datetime) -> bool:
    """Whether all that it claims was captured before; ours end with their last image."""
    end = invoice.period_end
    if end is None:
        return False
    return end < moment or (end == moment and invoice.kind not in Invoice.OWN)


def _unclaimed_before(organization: Organization, moment: datetime) -> Counter[int]:
    """Images that were captured before, and that no invoice bills yet: few, for the last one has claimed all else."""
    unclaimed = UsageBatch.objects.filter(organization=organization).unclaimed()
    # Read by the index's order: PostgreSQL expects as many before as after, and would read all batches.
    oldest = unclaimed.order_by("last_captured_at").values_list("last_captured_at", flat=True)
    first = oldest.first()
    batches = (
        unclaimed.filter(last_captured_at__lt=moment)
        if first and first < moment
        else UsageBatch.objects.none()
    )
    open_use = Hold.objects.filter(
        organization=organization,
        state=Hold.State.CAPTURED,
        payer=Hold.Payer.SUBSCRIPTION,
        usage_batch=None,
        ended_at__lt=moment,
    )
    in_batches = batches.order_by().values_list("price").annotate(images=Sum("quantity"))
    in_none = open_use.order_by().values_list("price").annotate(images=Count("pk"))
    return Counter(dict(in_batches)) + Counter(dict(in_none))


def _carried(organization: Organization, draft: Invoice | None) -> dict[int, list[InvoiceLine]]:
    """Lines of final invoices that billed wrong and that no later line has made good yet, by the price's id."""
    target = F("claimed_cents") + F("carried_cents")
    lines = (
        InvoiceLine.objects.filter(
            Q(carried_by=None) | Q(carried_by__invoice=draft),
            invoice__organization=organization,
            invoice__finalized_at__isnull=False,
        )
        .exclude(stripe_cents=target - F("correction_cents"))
        .exclude(invoice__status=Invoice.Status.VOID)
        .select_related("invoice")
    )
    found: dict[int, list[InvoiceLine]] = {}
    for line in lines:
        found.setdefault(line.price_id, []).append(line)
    return found


def _use(
    found: Delivered,
    claims: list[tuple[InvoiceLine, int]],
    start: datetime,
    end: datetime,
    *,
    here: int,
    earlier: int,
) -> Use:
    """What was delivered in the period, and which interim invoices bill some of it."""
    elsewhere: Counter[str] = Counter()
    for line, images in claims:
        if line.invoice.is_final:
            elsewhere[name_of(line.invoice)] += images
    return use_of(found, start, end, here=here, elsewhere=elsewhere, earlier=earlier)
