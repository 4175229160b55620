"""The usage page: one month by day, size and key, and as a CSV file."""

import re
from datetime import UTC, date, datetime, timedelta

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.access import OrganizationRequest
from accounts.permissions import Permission, requires
from billing.amounts import dollars
from billing.ledger import usage as ledger_usage
from billing.pages import usage_csv
from billing.pages.bar_chart import bar_chart

# Of the years that the API's reports know; the calendar's own first and last month have no neighbor.
MONTH = re.compile(r"(2[0-9]{3})-(0[1-9]|1[0-2])", re.ASCII)


@require_safe
@requires(Permission.READ_USAGE)
def usage(request: OrganizationRequest) -> HttpResponse:
    """What one month's images cost, by day, size and key."""
    today = datetime.now(UTC).date()
    period = chosen_month(request.GET.get("month", ""), today)
    organization = request.organization
    days = ledger_usage.by_day(organization, period)
    chart = bar_chart(
        (spend.images, f"{day:%-d %B}: {image_count(spend.images)}, {dollars(spend.micros)}")
        for day, spend in days.items()
    )
    context = {
        "period": period,
        "total": ledger_usage.total(organization, period),
        "chart": chart,
        "days": [(day, spend) for day, spend in days.items() if spend.images],
        "sizes": ledger_usage.by_size(organization, period),
        "keys": ledger_usage.by_key(organization, period),
        "previous": period.start - timedelta(days=1),
        "next": period.end if period.end <= today else None,
    }
    return render(request, "dashboard/usage.html", context)


@require_safe
@requires(Permission.READ_USAGE)
def usage_as_csv(request: OrganizationRequest) -> HttpResponse:
    """The same month as CSV, by day, key and size."""
    period = chosen_month(request.GET.get("month", ""), datetime.now(UTC).date())
    group_by = ("key", "size")
    rows = ledger_usage.report(
        request.organization,
        start=ledger_usage.midnight(period.start),
        end=ledger_usage.midnight(period.end),
        bucket="day",
        group_by=group_by,
    )
    return usage_csv.answer(rows, group_by=group_by, filename=f"usage-{period.start:%Y-%m}.csv")


def chosen_month(text: str, today: date) -> ledger_usage.Period:
    """`2026-11` → that month; nothing → this one.

    Raises:
        Http404: not a month.
    """
    if not text:
        return ledger_usage.month_of(today)
    found = MONTH.fullmatch(text)
    if not found:
        raise Http404("There is no such month.")
    year, month = map(int, found.groups())
    return ledger_usage.month_of(date(year, month, 1))


def image_count(count: int) -> str:
    """`1 image`, `2 images`."""
    return f"{count:,} image{'' if count == 1 else 's'}"
