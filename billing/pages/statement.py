"""One invoice as a statement that adds up, its images as a file, and the ways to its pages at Stripe.

The statement is made of our own rows; only the ways to Stripe ask there.
"""

import csv
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import (
    Http404,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import OrganizationRequest
from accounts.permissions import Permission, requires
from billing.amounts import MICROS_PER_DOLLAR
from billing.gateway import invoices as stripe_invoices
from billing.models import Invoice
from billing.pages.stripe import with_stripe_errors
from billing.pages.usage_csv import escaped
from billing.statements import invoice as invoices
from billing.statements import next_invoice
from billing.statements.images import BilledImage, images_of

COLUMNS = ("id", "time", "key", "key_hint", "size", "price_usd", "payer", "on_invoice_usd")
# A row is sent with others: each part of an answer costs a system call.
ROWS_AT_ONCE = 500


@require_safe
@never_cache
@requires(Permission.MANAGE_BILLING)
def statement(request: OrganizationRequest, name: str) -> HttpResponse:
    """The statement of the invoice with that number or id."""
    found = invoice_of(request, name)
    return render(
        request,
        "dashboard/invoice.html",
        {"statement": invoices.statement_of(found), "invoice": found},
    )


@require_safe
@never_cache
@requires(Permission.MANAGE_BILLING)
def next_statement(request: OrganizationRequest) -> HttpResponse:
    """The current period so far, in the form of the invoice that will bill it."""
    found = next_invoice.so_far(request.organization)
    return render(request, "dashboard/invoice.html", {"statement": found, "invoice": None})


@require_safe
@never_cache
@requires(Permission.MANAGE_BILLING)
@with_stripe_errors("Your invoices are safe there; please try again in a minute.")
def at_stripe(request: OrganizationRequest, name: str, form: str) -> HttpResponse:
    """Redirect to Stripe's page of the invoice, or to its PDF: their addresses expire, so each click asks."""
    found = stripe_invoices.find(invoice_of(request, name).stripe_id or "")
    address = found.pdf if form == "pdf" else found.page
    if address is None:
        messages.info(request, "Stripe has no page of this invoice until it is final.")
        return redirect("invoice", name=name)
    return HttpResponseRedirect(address)


@require_safe
@never_cache
@requires(Permission.MANAGE_BILLING)
def images_csv(request: OrganizationRequest, name: str) -> Any:
    """Each image of the invoice, and those of its period that credit paid, as CSV."""
    found = invoice_of(request, name)
    response = StreamingHttpResponse(
        csv_parts(images_of(found)), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="invoice-{found.pk}.csv"'
    return response


def invoice_of(request: OrganizationRequest, name: str) -> Invoice:
    """The reader's invoice of that number or id.

    Raises:
        Http404: their organization has none.
    """
    found = invoices.find(request.organization, name)
    if found is None:
        raise Http404("There is no such invoice.")
    return found


class _Line:
    """What the CSV writer writes to: it hands each line back."""

    def write(self, line: str) -> str:
        return line


def csv_parts(images: Iterator[BilledImage]) -> Iterator[str]:
    """The file in parts of some hundred rows."""
    writer = csv.writer(_Line())
    part = [writer.writerow(COLUMNS)]
    for image in images:
        part.append(writer.writerow(_cells(image)))
        if len(part) >= ROWS_AT_ONCE:
            yield "".join(part)
            part = []
    yield "".join(part)


def _cells(image: BilledImage) -> list[str]:
    return [
        image.id,
        image.at.isoformat(),
        escaped(image.key),
        escaped(image.key_hint),
        image.size,
        _dollars(image.price_micros),
        image.payer,
        _dollars(image.invoiced_micros),
    ]


def _dollars(micros: int) -> str:
    return f"{Decimal(micros) / MICROS_PER_DOLLAR:.6f}"
