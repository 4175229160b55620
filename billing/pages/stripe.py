"""Pages that wait for Stripe: to checkout and the portal and back, and invoices.

No other page does. While Stripe is away, these say so and change nothing.
"""

import logging
from collections.abc import Callable
from functools import wraps

from django.contrib import messages
from django.http import (
    Http404,
    HttpResponse,
    HttpResponseRedirect,
)
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.access import MemberView, OrganizationRequest, members_only
from accounts.permissions import Permission, requires
from billing.gateway import invoices as stripe_invoices
from billing.gateway.client import time_limit
from billing.gateway.errors import GatewayError, StripeAway, StripeKeyRefused, StripeRefused
from billing.gateway.invoices import StripeInvoice
from billing.ledger import budgets
from billing.models import Subscription
from billing.pages.billing import billing_page
from billing.pages.forms import SubscribeForm
from billing.subscriptions import checkout, syncing
from billing.subscriptions.catalog import CatalogConflict

logger = logging.getLogger(__name__)

INVOICES_PAGE = 24
INVOICES_ON_BILLING = 3

TRY_AGAIN = "Nothing was changed or charged; please try again in a minute."
# A person waits, and a web thread with them: less than the 15 s after which people give up.
PAGE_SECONDS = 12


class SeeOther(HttpResponseRedirect):
    """A redirect after a form was sent: the browser reads the next page with GET."""

    status_code = 303


def with_stripe_errors(advice: str) -> Callable[[MemberView[[]]], MemberView[[]]]:
    """A view that asks Stripe: where that fails, a message that ends with `advice`, and back to the billing page."""

    def decorator(view: MemberView[[]]) -> MemberView[[]]:
        @wraps(view)
        def asked(request: OrganizationRequest) -> HttpResponse:
            try:
                with time_limit(PAGE_SECONDS):
                    return view(request)
            except (GatewayError, CatalogConflict) as error:
                messages.error(request, f"{log_and_describe(error)} {advice}")
                return redirect("billing")

        return asked

    return decorator


def log_and_describe(error: GatewayError | CatalogConflict) -> str:
    """Log the error for staff; returns what the customer reads of it."""
    if isinstance(error, StripeAway):
        logger.warning("stripe away", extra={"detail": str(error)})
        if error.status >= 500:  # noqa: PLR2004 - HTTP's
            return "Stripe has a problem at the moment."
        return "Stripe cannot be reached at the moment."
    logger.error("stripe refused a page", extra={"detail": str(error)})
    if isinstance(error, StripeKeyRefused | CatalogConflict):
        return "Payments are not set up correctly on this server; the operators have been told."
    return "Stripe did not accept this; the operators have been told."


@require_POST
@requires(Permission.MANAGE_BILLING)
@with_stripe_errors(TRY_AGAIN)
def subscribe(request: OrganizationRequest) -> HttpResponse:
    """Set the spend limit, and redirect to the page where the card is entered."""
    form = SubscribeForm(request.organization, request.POST)
    if not form.is_valid():
        form.fields["limit"].widget.attrs["autofocus"] = True
        return billing_page(request, subscribe_form=form, status=422)
    try:
        address = checkout.begin(organization=request.organization, email=request.user.email)
    except checkout.AlreadySubscribed:
        messages.info(request, "You are subscribed already. Cards and invoices are under Manage.")
        return redirect("billing")
    # Only now: while Stripe is away nothing is changed.
    budgets.set_cap(organization=request.organization, cap_micros=form.cleaned_data["limit"])
    return SeeOther(address)


@require_safe
@members_only
@with_stripe_errors(
    "If you finished the checkout, you are subscribed, and it shows here in a few minutes."
)
def subscribed(request: OrganizationRequest) -> HttpResponse:
    """Sync after a finished checkout, and say whether there is a subscription."""
    ours = request.GET.get("checkout", "")
    if ours and checkout.confirm(organization=request.organization, checkout_id=ours):
        messages.success(
            request, "You are subscribed. Pictures go on when the credit is used up, to your limit."
        )
    else:
        messages.warning(
            request,
            "Stripe has not confirmed a subscription yet. If you finished the checkout, it shows here "
            "in a few minutes; if you did not, nothing is charged.",
        )
    return redirect("billing")


@require_POST
@requires(Permission.MANAGE_BILLING)
@with_stripe_errors(TRY_AGAIN)
def portal(request: OrganizationRequest) -> HttpResponse:
    """Redirect to the page where cards are changed, invoices paid and the subscription canceled."""
    try:
        return SeeOther(checkout.open_portal(request.organization))
    except checkout.NoCustomer:
        messages.info(request, "There is no card yet. Subscribe first.")
        return redirect("billing")


@require_safe
@members_only
@with_stripe_errors("What you changed there shows here in a few minutes.")
def back_from_portal(request: OrganizationRequest) -> HttpResponse:
    """Sync after the portal, where the card may have changed or the subscription been canceled."""
    if row := subscription_of(request):
        syncing.sync(row)
    return redirect("billing")


def subscription_of(request: OrganizationRequest) -> Subscription | None:
    """The organization's row, if it ever began a checkout."""
    return getattr(request.organization, "subscription", None)


@require_safe
@never_cache
@requires(Permission.MANAGE_BILLING)
def invoices(request: OrganizationRequest) -> HttpResponse:
    """The invoices at Stripe as they are now; only the newest for the script of the billing page."""
    is_part = request.headers.get("HX-Request") == "true"
    after = request.GET.get("after") or None
    found, more, problem = invoices_page(
        subscription_of(request),
        limit=INVOICES_ON_BILLING if is_part else INVOICES_PAGE,
        after=after,
    )
    context = {"invoices": found, "more": more, "problem": problem, "first_page": after is None}
    template = "invoices_part" if is_part else "invoices"
    return render(request, f"dashboard/{template}.html", context)


def invoices_page(
    row: Subscription | None, *, limit: int, after: str | None
) -> tuple[list[StripeInvoice], bool, str]:
    """The page's invoices, whether there are more, and why they could not be read (empty where they could).

    Raises:
        Http404: there is no invoice `after`.
    """
    if row is None or not row.customer_id:
        return [], False, ""
    try:
        with time_limit(PAGE_SECONDS):
            return *stripe_invoices.page_of(row.customer_id, limit=limit, after=after), ""
    except GatewayError as error:
        if after and isinstance(error, StripeRefused):
            raise Http404("There is no such page of invoices.") from None
        return [], False, log_and_describe(error)
