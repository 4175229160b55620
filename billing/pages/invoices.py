"""The list of invoices: by our rows, or read at Stripe until all of them have been read once."""

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import OrganizationRequest
from accounts.permissions import Permission, requires
from billing.gateway import invoices as stripe_invoices
from billing.gateway.client import time_limit
from billing.gateway.errors import GatewayError, StripeRefused
from billing.models import Invoice, Subscription
from billing.pages.listed_invoices import (
    INVOICES_ON_BILLING,
    InvoicesPage,
    ListedInvoice,
    our_page,
)
from billing.pages.stripe import PAGE_SECONDS, log_and_describe, subscription_of

INVOICES_PAGE = 24


@require_safe
@never_cache
@requires(Permission.MANAGE_BILLING)
def invoices(request: OrganizationRequest) -> HttpResponse:
    """The invoices, by our rows or as they are at Stripe now; only the newest for the script of the billing page."""
    is_part = request.headers.get("HX-Request") == "true"
    after = request.GET.get("after") or None
    row = subscription_of(request)
    # Before all of them were read once, some are at Stripe alone.
    read = bool(row and row.invoices_read_at)
    page_of = our_page if read else page_at_stripe
    page = page_of(row, limit=INVOICES_ON_BILLING if is_part else INVOICES_PAGE, after=after)
    context = {
        "invoices": page.invoices,
        "more": page.more,
        "problem": page.problem,
        "first_page": after is None,
        "runs": bool(row and row.period_start),
    }
    template = "invoices_part" if is_part else "invoices"
    return render(request, f"dashboard/{template}.html", context)


def page_at_stripe(row: Subscription | None, *, limit: int, after: str | None) -> InvoicesPage:
    """A page of the invoices at Stripe; those that we have read have a statement.

    Raises:
        Http404: there is no invoice `after`.
    """
    if row is None or not row.customer_id:
        return InvoicesPage([])
    try:
        with time_limit(PAGE_SECONDS):
            found, more = stripe_invoices.page_of(row.customer_id, limit=limit, after=after)
    except GatewayError as error:
        if after and isinstance(error, StripeRefused):
            raise Http404("There is no such page of invoices.") from None
        return InvoicesPage([], problem=log_and_describe(error))
    ours = set(
        Invoice.objects.filter(
            organization=row.organization_id, stripe_id__in=[each.id for each in found]
        ).values_list("stripe_id", flat=True)
    )
    return InvoicesPage(
        [
            ListedInvoice(
                id=each.id,
                number=each.number,
                status=each.status,
                created=each.created,
                period_start=None,
                period_end=each.period_end,
                total_cents=each.total_cents,
                is_ours=each.id in ours,
                page=each.page,
                pdf=each.pdf,
            )
            for each in found
        ],
        more=more,
    )
