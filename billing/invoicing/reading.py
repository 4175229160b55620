"""Our rows of invoices, as Stripe shows them."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from accounts.models import Organization
from billing.gateway import invoices
from billing.gateway.errors import StripeRefused
from billing.gateway.invoices import StripeInvoice, StripeLine
from billing.models import Invoice, MeteredPrice, Subscription

# A draft is settled when so much of the time is over that Stripe leaves it open (an hour, or as long as the account's
# settings say): late, so that meters have caught up, and not at the last moment.
SETTLE_AFTER = 5 / 6


def organization_of(customer_id: str) -> Organization | None:
    """Whose customer that is, or was before it was deleted."""
    row = (
        Subscription.objects.filter(customer_id=customer_id).select_related("organization").first()
    )
    if row:
        return row.organization
    known = Invoice.objects.filter(customer_id=customer_id).select_related("organization").first()
    return known.organization if known else None


def take(at: StripeInvoice, organization: Organization, asked_at: datetime) -> Invoice:
    """Our row of that invoice, made where it is missing, with what Stripe said; `asked_at` is before Stripe was asked.

    It never makes a row final: that is done together with its lines, by `settling`.
    """
    row = _row_of(at)
    if row is None:
        row, _ = Invoice.objects.get_or_create(
            stripe_id=at.id,
            defaults={
                "organization": organization,
                "kind": Invoice.Kind.PERIOD if at.subscription_id else Invoice.Kind.MANUAL,
                "customer_id": at.customer_id,
                "created_at": at.created,
                "finalizes_at": at.finalizes_at,
                "not_before": settles_at(at.created, at.finalizes_at),
            },
        )
    changes = {
        "number": at.number,
        "subscription_id": at.subscription_id or row.subscription_id,
        "total_cents": at.total_cents,
        "tax_cents": at.tax_cents,
        "due_cents": at.asked_cents,
        "read_at": asked_at,
    }
    if row.period_end is None:
        changes |= {"period_start": at.period_start, "period_end": at.period_end}
    if row.is_final and at.status != Invoice.Status.DRAFT:
        changes["status"] = at.status
    # An answer to an earlier question never overwrites that to a later one.
    unread = Q(read_at=None) | Q(read_at__lt=asked_at)
    Invoice.objects.filter(unread, pk=row.pk).update(**changes)
    row.refresh_from_db()
    return row


def _row_of(at: StripeInvoice) -> Invoice | None:
    row = Invoice.objects.filter(stripe_id=at.id).first()
    if row is None and at.reference:
        # Ours, whose answer was lost.
        ours = Invoice.objects.filter(reference=at.reference, stripe_id=None)
        ours.update(stripe_id=at.id, created_at=at.created)
        row = Invoice.objects.filter(stripe_id=at.id).first()
    return row


def settles_at(created: datetime, finalizes_at: datetime | None) -> datetime:
    """When a draft is compared with the ledger and made final."""
    window = finalizes_at - created if finalizes_at else timedelta(hours=1)
    return created + SETTLE_AFTER * max(window, timedelta(0))


def read(invoice: Invoice) -> tuple[Invoice, StripeInvoice] | None:
    """The row as Stripe shows it now, and what Stripe said; None where it is gone there.

    Raises:
        GatewayError
    """
    asked_at = timezone.now()
    try:
        at = invoices.find(str(invoice.stripe_id))
    except StripeRefused as refusal:
        if refusal.is_missing:
            return None
        raise
    return take(at, invoice.organization, asked_at), at


def set_period(invoice: Invoice, lines: Iterable[StripeLine]) -> None:
    """The period of a subscription's invoice is that of its metered lines, where it has some."""
    known = MeteredPrice.objects.values_list("stripe_price_id", flat=True)
    metered = [line for line in lines if line.price_id and not line.corrects]
    mine = set(known.filter(stripe_price_id__in={line.price_id for line in metered}))
    spans = [line for line in metered if line.price_id in mine]
    if invoice.kind == Invoice.Kind.PERIOD and spans:
        invoice.period_start = min(line.start for line in spans)
        invoice.period_end = max(line.end for line in spans)
        invoice.save(update_fields=["period_start", "period_end"])


def sort_lines(
    lines: Iterable[StripeLine],
) -> tuple[dict[int, tuple[int, int]], dict[int, int], int]:
    """The lines by the price's id: (images, cents) of Stripe's own, cents of our items; and the cents of all others."""
    lines = list(lines)
    by_price = dict(
        MeteredPrice.objects.filter(
            stripe_price_id__in={line.price_id for line in lines if line.price_id}
        ).values_list("stripe_price_id", "price")
    )
    by_name = dict(
        MeteredPrice.objects.filter(
            event_name__in={line.corrects for line in lines if line.corrects}
        ).values_list("event_name", "price")
    )
    metered: dict[int, tuple[int, int]] = {}
    ours: dict[int, int] = {}
    others = 0
    for line in lines:
        if line.corrects in by_name:
            price = by_name[line.corrects]
            ours[price] = ours.get(price, 0) + line.cents
        elif line.price_id in by_price:
            price = by_price[line.price_id]
            images, cents = metered.get(price, (0, 0))
            metered[price] = (images + line.quantity, cents + line.cents)
        else:
            others += line.cents
    return metered, ours, others
