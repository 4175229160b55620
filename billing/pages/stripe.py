"""The ways to Stripe and back: checkout, portal, invoices, and the address that its webhooks come to.

No other page waits for Stripe. Where it is away, these say so and change nothing.
"""

import logging
from collections.abc import Callable
from functools import wraps

from amqp.exceptions import AMQPError
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
)
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe
from kombu.exceptions import OperationalError
from redis import RedisError

from accounts.access import OrganizationRequest
from accounts.doors import MemberView, members_only
from accounts.limits.buckets import asking, broker_circuit
from accounts.models import Membership
from billing import webhook_events
from billing.gateway import invoices as stripe_invoices
from billing.gateway import webhooks
from billing.gateway.errors import GatewayError, StripeAway, StripeKeyRefused, StripeRefused
from billing.ledger import budgets
from billing.models import Subscription
from billing.pages.billing import billing_page
from billing.pages.forms import SubscribeForm
from billing.subscriptions import checkout, syncing
from billing.subscriptions.catalog import CatalogConflict
from billing.tasks import process_event

logger = logging.getLogger(__name__)

INVOICES_PAGE = 24
INVOICES_ON_BILLING = 3

TRY_AGAIN = "Nothing was changed; please try again in a minute."


class SeeOther(HttpResponseRedirect):
    """After a form: the next page is to be read with GET."""

    status_code = 303


def with_stripe_errors(what_follows: str) -> Callable[[MemberView[[]]], MemberView[[]]]:
    """A view that asks Stripe: where that fails, a message with `what_follows`, and back to Billing."""

    def decorator(view: MemberView[[]]) -> MemberView[[]]:
        @wraps(view)
        def asked(request: OrganizationRequest) -> HttpResponse:
            try:
                return view(request)
            except (GatewayError, CatalogConflict) as error:
                messages.error(request, f"{what_is_wrong(error)} {what_follows}")
                return redirect("billing")

        return asked

    return decorator


def what_is_wrong(error: GatewayError | CatalogConflict) -> str:
    """In the customer's words; what only staff can mend goes to their log."""
    if isinstance(error, StripeAway):
        logger.warning("stripe away", extra={"detail": str(error)})
        return "Stripe cannot be reached at the moment."
    logger.error("stripe refused a page", extra={"detail": str(error)})
    if isinstance(error, StripeKeyRefused | CatalogConflict):
        return "Payments are not set up correctly on this server; the operators have been told."
    return "Stripe did not accept this; the operators have been told."


def require_payer(membership: Membership) -> None:
    """Let those pass who look after the money.

    Raises:
        PermissionDenied: the role is member.
    """
    if membership.role not in budgets.CAP_KEEPERS:
        raise PermissionDenied(
            "Your role in this organization is member, which sees what is spent but neither pays nor "
            "sees invoices. Ask an owner, an admin or somebody with the billing role."
        )


@require_POST
@members_only
@with_stripe_errors(TRY_AGAIN)
def subscribe(request: OrganizationRequest) -> HttpResponse:
    """Set the spend limit, then on to the page where the card is entered."""
    require_payer(request.membership)
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
    """Back from a finished checkout."""
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
@members_only
@with_stripe_errors(TRY_AGAIN)
def portal(request: OrganizationRequest) -> HttpResponse:
    """On to the page where cards are changed, invoices paid and the subscription canceled."""
    require_payer(request.membership)
    try:
        return SeeOther(checkout.open_portal(request.organization))
    except checkout.NoCustomer:
        messages.info(request, "There is no card yet. Subscribe first.")
        return redirect("billing")


@require_safe
@members_only
@with_stripe_errors("What you changed there shows here in a few minutes.")
def portal_left(request: OrganizationRequest) -> HttpResponse:
    """Back from the portal: the card may be another, or the subscription canceled."""
    if row := subscription_of(request):
        syncing.sync(row)
    return redirect("billing")


def subscription_of(request: OrganizationRequest) -> Subscription | None:
    """The organisation's row, if it ever began a checkout."""
    return getattr(request.organization, "subscription", None)


@require_safe
@never_cache
@members_only
def invoices(request: OrganizationRequest) -> HttpResponse:
    """The invoices, asked for now; for the billing page's script, the newest of them alone."""
    require_payer(request.membership)
    row = subscription_of(request)
    is_part = request.headers.get("HX-Request") == "true"
    after = request.GET.get("after") or None
    context = {"invoices": [], "more": False, "problem": "", "first_page": after is None}
    if row and row.customer_id:
        try:
            context["invoices"], context["more"] = stripe_invoices.page_of(
                row.customer_id,
                limit=INVOICES_ON_BILLING if is_part else INVOICES_PAGE,
                after=after,
            )
        except StripeRefused as refusal:
            if after:
                raise Http404("There is no such page of invoices.") from None
            context["problem"] = what_is_wrong(refusal)
        except GatewayError as error:
            context["problem"] = what_is_wrong(error)
    template = "invoices_part" if is_part else "invoices"
    return render(request, f"dashboard/{template}.html", context)


@csrf_exempt
@login_not_required
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """An event of Stripe's: kept once and answered at once. What it leads to is in inbox.py.

    With the database away it is a 500, and Stripe sends it again.
    """
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    body = request.read(settings.BODY_LIMIT_BYTES + 1)
    if len(body) > settings.BODY_LIMIT_BYTES:
        return JsonResponse({"error": "The body is too large."}, status=413)
    try:
        event = webhooks.verify(body, request.headers.get("Stripe-Signature", ""))
    except webhooks.Unverified as error:
        return JsonResponse({"error": str(error)}, status=400)
    if webhook_events.receive(event):
        wake_worker(event.id)
    return HttpResponse()


def wake_worker(event_id: str) -> None:
    """Have it worked on at once; where the bell is lost, the standing chore finds it within seconds."""
    try:
        with asking(broker_circuit()):
            process_event.apply_async((event_id,), retry=False)
    except (OperationalError, AMQPError, RedisError, OSError) as error:
        logger.warning("webhook bell lost", extra={"error": type(error).__name__})
