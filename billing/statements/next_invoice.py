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
from billing.statements.claims import carried_from, span_of
from billing.statements.figures import (
    InvoiceStatement,
    PriceFigures,
    Use,
    by_size,
    name_of,
    title_of,
)
from billing.statements.use import use_of

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
    images, inside = _unclaimed(organization, since=since, start=start, end=end)
    if draft:
        claimed = Counter({line.price_id: line.quantity for line in draft.lines.all()})
        images, inside = images + claimed, inside + claimed
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
        use=_use(organization, start, end, inside.total(), images.total()),
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
    organization: Organization, *, since: datetime | None, start: datetime, end: datetime
) -> tuple[Counter[int], Counter[int]]:
    """Images that the subscription pays and no invoice bills yet, by the price's id; and those from `start` on."""
    batches = UsageBatch.objects.filter(
        organization=organization, last_captured_at__lt=end
    ).unclaimed()
    open_use = Hold.objects.filter(
        organization=organization,
        state=Hold.State.CAPTURED,
        payer=Hold.Payer.SUBSCRIPTION,
        usage_batch=None,
        ended_at__lt=end,
    )
    if since:
        batches = batches.filter(last_captured_at__gte=since)
        open_use = open_use.filter(ended_at__gte=since)
    in_batches = (
        batches.order_by()
        .values_list("price")
        .annotate(
            images=Sum("quantity"),
            inside=Sum("quantity", filter=Q(last_captured_at__gte=start), default=0),
        )
    )
    in_none = (
        open_use.order_by()
        .values_list("price")
        .annotate(images=Count("pk"), inside=Count("pk", filter=Q(ended_at__gte=start)))
    )
    found: tuple[Counter[int], Counter[int]] = Counter(), Counter()
    for price, images, inside in (*in_batches, *in_none):
        found[0][price] += images
        found[1][price] += inside
    return found


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
    organization: Organization, start: datetime, end: datetime, inside: int, images: int
) -> Use:
    """What was delivered in the period, and which interim invoices bill some of it."""
    interim = UsageBatch.objects.filter(
        invoice_line__invoice__in=Invoice.objects.filter(
            organization=organization, period_end__gt=start, period_end__lte=end
        ).final(),
        last_captured_at__gte=start,
        last_captured_at__lt=end,
    )
    elsewhere = interim.order_by().values_list(
        "invoice_line__invoice__number", "invoice_line__invoice__stripe_id"
    )
    return use_of(
        organization,
        start,
        end,
        here=inside,
        elsewhere={
            number or stripe_id or "": count
            for number, stripe_id, count in elsewhere.annotate(images=Sum("quantity"))
        },
        earlier=images - inside,
    )
