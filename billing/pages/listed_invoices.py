"""Invoices as lists show them, by our rows."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from django.http import Http404
from django.urls import reverse

from billing.models import Invoice, Subscription

INVOICES_ON_BILLING = 3


@dataclass(frozen=True)
class ListedInvoice:
    """An invoice in a list; `id` is Stripe's, and `is_ours` says whether there is a statement of it."""

    id: str
    number: str
    status: str
    created: datetime
    period_start: datetime | None
    period_end: datetime | None
    total_cents: int
    is_ours: bool
    page: str | None
    pdf: str | None

    @property
    def name(self) -> str:
        """Its name in addresses."""
        return self.number or self.id


@dataclass(frozen=True)
class InvoicesPage:
    """A page of a list, whether there are more, and why they could not be read (empty where they could)."""

    invoices: list[ListedInvoice]
    more: bool = False
    problem: str = ""


def our_page(row: Subscription | None, *, limit: int, after: str | None = None) -> InvoicesPage:
    """A page of our rows, the newest first.

    Raises:
        Http404: there is no invoice `after`.
    """
    organization = row.organization_id if row else None
    rows = (
        Invoice.objects.filter(organization=organization, stripe_id__isnull=False)
        .exclude(status=Invoice.Status.DELETED)
        .order_by("-created_at", "-pk")
    )
    if after:
        last = rows.filter(stripe_id=after).first()
        if last is None:
            raise Http404("There is no such page of invoices.")
        rows = rows.filter(
            Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, pk__lt=last.pk)
        )
    found = list(rows[: limit + 1])
    return InvoicesPage([_listed(invoice) for invoice in found[:limit]], more=len(found) > limit)


def _listed(invoice: Invoice) -> ListedInvoice:
    name = invoice.number or invoice.stripe_id
    is_final = invoice.is_final
    return ListedInvoice(
        id=invoice.stripe_id or "",
        number=invoice.number,
        status=invoice.status,
        created=invoice.created_at,
        period_start=invoice.period_start,
        period_end=invoice.period_end,
        total_cents=invoice.total_cents,
        is_ours=True,
        page=reverse("invoice_page", args=[name]) if is_final else None,
        pdf=reverse("invoice_pdf", args=[name]) if is_final else None,
    )
