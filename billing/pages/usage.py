"""The usage page: one month by day, size, key and payer, and as a CSV file."""

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
GROUP_BY = ("key", "size", "payer")


@require_safe
@requires(Permission.READ_USAGE)
def usage(request: OrganizationRequest) -> HttpResponse:
    """What one month's images cost, by day, size, key and payer."""
    today = datetime.now(UTC).date()
    period = chosen_month(request.GET.get("month", ""), today)
    rows = rows_of(request, period)
    days = ledger_usage.by_day(rows, period)
    payers = ledger_usage.by_payer(rows)
    chart = bar_chart(
        (spend.images, f"{day:%-d %B}: {image_count(spend.images)}, {dollars(spend.micros)}")
        for day, spend in days.items()
    )
    context = {
        "period": period,
        "total": ledger_usage.total_of(rows),
        "chart": chart,
        "days": [(day, spend) for day, spend in days.items() if spend.images],
        "sizes": ledger_usage.by_size(rows),
        "keys": ledger_usage.by_key(rows),
        "payers": payers if len(payers) > 1 else [],
        "previous": period.start - timedelta(days=1),
        "next": period.end if period.end <= today else None,
    }
    return render(request, "dashboard/usage.html", context)


@require_safe
@requires(Permission.READ_USAGE)
def usage_as_csv(request: OrganizationRequest) -> HttpResponse:
    """The same month as CSV, by day, key, size and payer."""
    period = chosen_month(request.GET.get("month", ""), datetime.now(UTC).date())
    rows, filename = rows_of(request, period), f"usage-{period.start:%Y-%m}.csv"
    return usage_csv.answer(rows, group_by=GROUP_BY, filename=filename)


def rows_of(
    request: OrganizationRequest, period: ledger_usage.Period
) -> list[ledger_usage.UsageRow]:
    """The organization's use of the period by day, split by all there is."""
    return ledger_usage.report(
        request.organization,
        start=period.starts_at,
        end=period.ends_at,
        bucket="day",
        group_by=GROUP_BY,
    )


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
