"""The pages that Stripe would host for a customer: checkout, portal, invoice."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from tools.stripe_sandbox.invoices import cards, invoices, payments, subscription_status
from tools.stripe_sandbox.state import events
from tools.stripe_sandbox.state.errors import Refused
from tools.stripe_sandbox.state.store import Document, Transaction, store
from tools.stripe_sandbox.subscriptions import checkout, periods, subscriptions

CSS = Path(__file__).parents[1] / "static" / "sandbox.css"
COUNTRIES = {
    "US": "United States",
    "DE": "Germany",
    "FR": "France",
    "GB": "United Kingdom",
    "IN": "India",
    "JP": "Japan",
}


@require_safe
def stylesheet(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(CSS.read_bytes(), content_type="text/css; charset=utf-8")


def see_other(address: str) -> HttpResponse:
    """After a form: to be read with GET."""
    response = HttpResponseRedirect(address)
    response.status_code = 303
    return response


def problem(request: HttpRequest, refusal: Refused) -> HttpResponse:
    """A page that says what is wrong."""
    return render(request, "problem.html", {"message": str(refusal)}, status=refusal.status)


@require_http_methods(["GET", "HEAD", "POST"])
def checkout_page(request: HttpRequest, key: str) -> HttpResponse:
    """Choose a card and subscribe. A declined card is told here, and nothing was made."""
    refusal = None
    try:
        with store().transaction() as db:
            session = db.get("checkout.session", key)
            if request.method == "POST":
                done = checkout.complete(
                    db, session, card=request.POST.get("card", ""), details=_details(request)
                )
                return see_other(checkout.landing_address(done))
    except Refused as refused:
        refusal = refused
    try:
        with store().transaction() as db:
            session = db.get("checkout.session", key)
            context = _checkout_context(db, session)
    except Refused as refused:
        return problem(request, refused)
    context |= {"refusal": refusal, "filled": request.POST}
    response = render(request, "checkout.html", context, status=refusal.status if refusal else 200)
    # Browsers hold the address to which a form's answer redirects against this rule too.
    landing = urlsplit(session["success_url"])
    response["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; form-action 'self' {landing.scheme}://{landing.netloc}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return response


def _checkout_context(db: Transaction, session: Document) -> dict[str, Any]:
    items = []
    for item in session["line_items"]["data"]:
        price = item["price"]
        items.append({"price": price, "product": db.get("product", price["product"])})
    return {
        "session": session,
        "items": items,
        "cards": cards.TEST_CARDS,
        "countries": COUNTRIES,
        "customer": db.get("customer", session["customer"]),
        "needs_address": session["automatic_tax"]["enabled"]
        or session["billing_address_collection"] == "required",
    }


def _details(request: HttpRequest) -> dict[str, Any]:
    posted = request.POST
    address = {"country": posted.get("country"), "postal_code": posted.get("postal_code")}
    return {
        "name": posted.get("name", "").strip(),
        "address": address if address["country"] else None,
        "tax_id": posted.get("tax_id", "").strip(),
    }


@require_http_methods(["GET", "HEAD", "POST"])
def portal_page(request: HttpRequest, key: str) -> HttpResponse:
    """The card on file, the invoices, and the end of the subscription."""
    refusal = None
    if request.method == "POST":
        try:
            with store().transaction() as db:
                _change(db, db.get("billing_portal.session", key), request)
            return see_other(request.path)
        except Refused as refused:
            refusal = refused
    try:
        with store().transaction() as db:
            context = _portal_context(db, db.get("billing_portal.session", key))
    except Refused as refused:
        return problem(request, refused)
    context["refusal"] = refusal
    return render(request, "portal.html", context, status=refusal.status if refusal else 200)


def _portal_context(db: Transaction, session: Document) -> dict[str, Any]:
    customer = db.get("customer", session["customer"])
    configuration = db.get("billing_portal.configuration", session["configuration"])
    running = _running(db, customer)
    card_key = customer["invoice_settings"]["default_payment_method"]
    if running:
        card_key = running["default_payment_method"] or card_key
    found = db.find("invoice", customer=customer["id"])
    return {
        "session": session,
        "customer": customer,
        "subscription": running,
        "period": periods.span(running) if running else None,
        "card": db.get_or_none("payment_method", card_key),
        "cards": cards.TEST_CARDS,
        "invoices": [invoice for invoice in found if invoice["status"] != "draft"],
        "features": configuration["features"],
    }


def _running(db: Transaction, customer: Document) -> Document | None:
    for subscription in db.find("subscription", customer=customer["id"]):
        if subscription["status"] not in subscription_status.ENDED:
            return subscription
    return None


def _change(db: Transaction, session: Document, request: HttpRequest) -> None:
    """What the three forms of the portal do, each only where the configuration allows it."""
    features = db.get("billing_portal.configuration", session["configuration"])["features"]
    customer = db.get("customer", session["customer"])
    subscription = _running(db, customer)
    wanted = request.POST.get("do")
    if wanted == "card" and features["payment_method_update"]["enabled"]:
        card = cards.attach_to(db, request.POST.get("card", ""), customer["id"])["id"]
        customer["invoice_settings"]["default_payment_method"] = card
        events.emit(db, "customer.updated", db.save(customer))
        if subscription:
            subscription["default_payment_method"] = card
            events.emit(db, "customer.subscription.updated", db.save(subscription))
    elif (
        wanted in {"cancel", "keep"} and subscription and features["subscription_cancel"]["enabled"]
    ):
        if features["subscription_cancel"]["mode"] == "immediately" and wanted == "cancel":
            periods.end_subscription(db, subscription)
            return
        subscriptions.cancel_at_end(subscription, wanted=wanted == "cancel")
        events.emit(db, "customer.subscription.updated", db.save(subscription))
    else:
        raise Refused("The portal's configuration does not allow this.")


@require_http_methods(["GET", "HEAD", "POST"])
def invoice_page(request: HttpRequest, key: str) -> HttpResponse:
    """What was billed; to be paid here while nobody has, with the card's owner present."""
    refusal = None
    if request.method == "POST":
        try:
            with store().transaction() as db:
                _pay(db, db.get("invoice", key), request.POST.get("card", ""))
            return see_other(request.path)
        except Refused as refused:
            refusal = refused
    try:
        with store().transaction() as db:
            invoice = invoices.current(db, db.get("invoice", key))
            customer = db.get("customer", invoice["customer"])
            charges = [
                charge
                for charge in db.find("charge", customer=customer["id"])
                if charge["_invoice"] == key and charge["status"] == "succeeded"
            ]
    except Refused as refused:
        return problem(request, refused)
    context = {
        "invoice": invoice,
        "customer": customer,
        "cards": [card for card in cards.TEST_CARDS if card.conduct != "fails"],
        "charge": charges[0] if charges else None,
        "payable": invoice["status"] in invoices.UNPAID,
        "balance_moved": invoice["amount_due"] - invoice["total"],
        "refusal": refusal,
    }
    return render(request, "invoice.html", context, status=refusal.status if refusal else 200)


def _pay(db: Transaction, invoice: Document, name: str) -> None:
    """Pay with a new card, which later invoices do not use."""
    if invoice["status"] not in invoices.UNPAID:
        raise Refused(f"This invoice is {invoice['status']}.")
    card = cards.attach_to(db, name, invoice["customer"])
    if code := payments.attempt(db, invoice, card=card, present=True):
        raise cards.declined(code, keeps_work=True)
