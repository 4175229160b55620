"""The billing page: who pays, what is left, the spend limit, prices and the ledger."""

from django.conf import settings
from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.access import OrganizationRequest, members_only
from accounts.permissions import Permission, may, requires
from billing.amounts import dollars
from billing.gateway import client as gateway
from billing.ledger import budgets, month_to_date, period_to_date, pricing
from billing.models import LedgerEntry
from billing.models.payment import GRACE, GRACE_ALLOWANCE_MICROS
from billing.pages.forms import SpendLimitForm, SubscribeForm
from billing.subscriptions.payment_state import PaymentState, PaymentStatus

LEDGER_PAGE = 25


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def billing(request: OrganizationRequest) -> HttpResponse:
    """Show the page; a POST sets the monthly cap."""
    if request.method == "POST":
        return set_spend_limit(request)
    return billing_page(request)


@requires(Permission.MANAGE_BILLING)
def set_spend_limit(request: OrganizationRequest) -> HttpResponse:
    """Set the organization's monthly cap, and say what it means for what is spent already."""
    form = SpendLimitForm(request.POST)
    if not form.is_valid():
        # The form is below the fold of a phone.
        form.fields["limit"].widget.attrs["autofocus"] = True
        return billing_page(request, limit_form=form, status=422)
    organization = request.organization
    budgets.set_cap(organization=organization, cap_micros=form.cleaned_data["limit"])
    now = month_to_date.of(organization)
    messages.add_message(
        request, messages.WARNING if now.cap_reached else messages.SUCCESS, describe_cap(now)
    )
    return redirect("billing")


def describe_cap(now: month_to_date.MonthToDate) -> str:
    """A new cap, and what it means for what is spent already, as a message to the reader."""
    if now.cap_micros is None:
        return "There is no monthly spend limit any more."
    limit = f"The monthly spend limit is {dollars(now.cap_micros)}"
    if now.cap_reached:
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
    """The page; a form that was filled in wrongly is shown again with its errors."""
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
        "asks_for_card": takes_cards
        and may(request.membership, Permission.MANAGE_BILLING)
        and payment.state == PaymentStatus.USED_UP,
        "sandbox": settings.STRIPE_API_BASE if settings.STRIPE_SANDBOX else None,
        "prices": [
            (size, prices[size].amount_micros)
            for size in pricing.DEFAULT_PRICES_MICROS
            if size in prices
        ],
        "entries": entries,
        "older": older,
        "first_page": "before" not in request.GET,
        "so_far": payment.so_far,
        "grace": {"days": GRACE.days, "micros": GRACE_ALLOWANCE_MICROS},
        "spending": settings.SPENDING,
    }
    return render(request, "dashboard/billing.html", context, status=status)


def ledger_page(request: OrganizationRequest) -> tuple[list[LedgerEntry], int | None]:
    """A page of the ledger, and the `before` of the next one; None on the last."""
    # Fees and disputes are between Stripe and us; a refund that was made at Stripe moves money of theirs, too.
    theirs = [LedgerEntry.Account.RECEIVABLE, LedgerEntry.Account.CUSTOMER_CREDIT]
    sent = [LedgerEntry.Kind.REFUND, LedgerEntry.Kind.PAYOUT]
    rows = (
        LedgerEntry.objects.for_organization(request.organization)
        .filter(Q(debit__in=theirs) | Q(credit__in=theirs) | Q(kind__in=sent))
        .order_by("-pk")
    )
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit():
        rows = rows.filter(pk__lt=int(before[:18]))
    rows = rows.select_related(
        "refund", "invoice", "hold__price", "hold__api_key", "hold__generation"
    )
    page = list(rows[: LEDGER_PAGE + 1])
    older = page[LEDGER_PAGE - 1].pk if len(page) > LEDGER_PAGE else None
    return page[:LEDGER_PAGE], older
