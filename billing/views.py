"""The money pages: what is left and why, and what was used."""

from datetime import UTC, date, datetime, timedelta

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.access import OrganizationRequest
from accounts.doors import members_only
from billing import pricing
from billing import usage as used
from billing.bar_chart import bar_chart
from billing.models import Credit, LedgerEntry
from billing.templatetags.money import dollars

LEDGER_PAGE = 25


@require_safe
@members_only
def billing(request: OrganizationRequest) -> HttpResponse:
    """Credit, prices in force, and the ledger page by page."""
    entries, older = ledger_page(request)
    prices = pricing.prices_in_force(pricing.DEFAULT_MODEL)
    context = {
        "credit": Credit.objects.filter(organization=request.organization).first(),
        "prices": [
            (size, prices[size]) for size in pricing.DEFAULT_PRICES_MICROS if size in prices
        ],
        "entries": entries,
        "older": older,
        "first_page": "before" not in request.GET,
    }
    return render(request, "dashboard/billing.html", context)


def ledger_page(request: OrganizationRequest) -> tuple[list[LedgerEntry], int | None]:
    """A page of the ledger, and the `before` of the next one; None on the last."""
    rows = LedgerEntry.objects.for_organization(request.organization).order_by("-pk")
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit():
        rows = rows.filter(pk__lt=int(before[:18]))
    rows = rows.select_related("hold__price", "hold__api_key", "hold__generation")
    page = list(rows[: LEDGER_PAGE + 1])
    older = page[LEDGER_PAGE - 1].pk if len(page) > LEDGER_PAGE else None
    return page[:LEDGER_PAGE], older


@require_safe
@members_only
def usage(request: OrganizationRequest) -> HttpResponse:
    """One month by day, size and key."""
    today = datetime.now(UTC).date()
    period = chosen_month(request.GET.get("month", ""), today)
    organization = request.organization
    days = used.by_day(organization, period)
    chart = bar_chart(
        (spend.images, f"{day:%-d %B}: {images(spend.images)}, {dollars(spend.micros)}")
        for day, spend in days.items()
    )
    context = {
        "period": period,
        "total": used.total(organization, period),
        "chart": chart,
        "days": [(day, spend) for day, spend in days.items() if spend.images],
        "sizes": used.by_size(organization, period),
        "keys": used.by_key(organization, period),
        "previous": period.start - timedelta(days=1),
        "next": period.end if period.end <= today else None,
    }
    return render(request, "dashboard/usage.html", context)


def chosen_month(text: str, today: date) -> used.Period:
    """`2026-11` → that month; nothing → this one.

    Raises:
        Http404: not a month.
    """
    if not text:
        return used.month_of(today)
    try:
        day = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
        return used.month_of(day)
    except (ValueError, OverflowError):
        raise Http404("There is no such month.") from None


def images(count: int) -> str:
    """`1 image`, `2 images`."""
    return f"{count:,} image{'' if count == 1 else 's'}"
