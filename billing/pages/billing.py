"""The money pages: what is left and why, and what was used."""

import re
from datetime import UTC, date, datetime, timedelta

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import OrganizationRequest
from accounts.doors import members_only
from billing.amounts import dollars
from billing.gateway import client as gateway
from billing.ledger import budgets, month_to_date, period_to_date, pricing
from billing.ledger import usage as used
from billing.models import LedgerEntry
from billing.models.payment import GRACE, GRACE_ALLOWANCE_MICROS
from billing.pages import usage_csv
from billing.pages.bar_chart import bar_chart
from billing.pages.forms import SpendLimitForm, SubscribeForm
from billing.subscriptions.payment_state import PaymentState, PaymentStatus

LEDGER_PAGE = 25
# Of the years that the API's reports know; the calendar's own first and last month have no neighbor.
MONTH = re.compile(r"(2[0-9]{3})-(0[1-9]|1[0-2])", re.ASCII)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def billing(request: OrganizationRequest) -> HttpResponse:
    """Who pays and what comes next, the monthly cap, prices, and the ledger; a POST sets the cap."""
    if request.method == "POST":
        return set_spend_limit(request)
    return billing_page(request)


def set_spend_limit(request: OrganizationRequest) -> HttpResponse:
    """Set the organisation's monthly cap, and say what it means for what is spent already.

    Raises:
        PermissionDenied: the role is member.
    """
    if request.membership.role not in budgets.CAP_KEEPERS:
        raise PermissionDenied(
            "Your role in this organization is member, which sees the spend limit but does not set "
            "it. Ask an owner, an admin or somebody with the billing role."
        )
    form = SpendLimitForm(request.POST)
    if not form.is_valid():
        # The card stands below the fold of a phone.
        form.fields["limit"].widget.attrs["autofocus"] = True
        return billing_page(request, limit_form=form, status=422)
    organization = request.organization
    budgets.set_cap(organization=organization, cap_micros=form.cleaned_data["limit"])
    now = month_to_date.of(organization)
    messages.add_message(
        request, messages.WARNING if now.is_full else messages.SUCCESS, outcome(now)
    )
    return redirect("billing")


def outcome(now: month_to_date.MonthToDate) -> str:
    """What a new cap means, in a sentence or two."""
    if now.cap_micros is None:
        return "There is no monthly spend limit any more."
    limit = f"The monthly spend limit is {dollars(now.cap_micros)}"
    if now.is_full:
        return (
            f"{limit}, and {dollars(now.reserved_micros)} is spent or held already: "
            "new pictures are refused until next month (UTC)."
        )
    return f"{limit}. It holds from the next picture on."


def billing_page(
    request: OrganizationRequest,
    *,
    limit_form: SpendLimitForm | None = None,
    subscribe_form: SubscribeForm | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page as the organisation stands; a form that was filled in wrongly is shown as it came."""
    organization = request.organization
    payment = PaymentState(request.membership)
    entries, older = ledger_page(request)
    prices = pricing.prices_in_force(pricing.DEFAULT_MODEL)
    takes_cards = gateway.is_configured()
    context = {
        "payment": payment,
        "period": period_to_date.of(payment.subscription) if payment.subscription else None,
        "form": limit_form or SpendLimitForm(initial={"limit": organization.monthly_cap_micros}),
        "subscribe_form": subscribe_form or SubscribeForm(organization),
        "takes_cards": takes_cards,
        "asks_for_card": takes_cards and payment.may_pay and payment.state == PaymentStatus.USED_UP,
        "sandbox": settings.STRIPE_API_BASE if settings.STRIPE_SANDBOX else None,
        "prices": [
            (size, prices[size].amount_micros)
            for size in pricing.DEFAULT_PRICES_MICROS
            if size in prices
        ],
        "entries": entries,
        "older": older,
        "first_page": "before" not in request.GET,
        "so_far": month_to_date.of(organization),
        "grace": {"days": GRACE.days, "micros": GRACE_ALLOWANCE_MICROS},
    }
    return render(request, "dashboard/billing.html", context, status=status)


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


@require_safe
@members_only
def usage_table(request: OrganizationRequest) -> HttpResponse:
    """The same month as CSV, by day, key and size."""
    period = chosen_month(request.GET.get("month", ""), datetime.now(UTC).date())
    group_by = ("key", "size")
    rows = used.report(
        request.organization,
        start=used.midnight(period.start),
        end=used.midnight(period.end),
        bucket="day",
        group_by=group_by,
    )
    return usage_csv.answer(rows, group_by=group_by, filename=f"usage-{period.start:%Y-%m}.csv")


def chosen_month(text: str, today: date) -> used.Period:
    """`2026-11` → that month; nothing → this one.

    Raises:
        Http404: not a month.
    """
    if not text:
        return used.month_of(today)
    found = MONTH.fullmatch(text)
    if not found:
        raise Http404("There is no such month.")
    year, month = map(int, found.groups())
    return used.month_of(date(year, month, 1))


def images(count: int) -> str:
    """`1 image`, `2 images`."""
    return f"{count:,} image{'' if count == 1 else 's'}"
