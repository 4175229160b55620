"""The operator's page: the state at a glance, and a button for each thing that can be made to happen."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from tools.stripe_sandbox import settings
from tools.stripe_sandbox.catalog import usage
from tools.stripe_sandbox.controls import actions
from tools.stripe_sandbox.invoices import invoices, lines, subscription_status
from tools.stripe_sandbox.pages import hosted
from tools.stripe_sandbox.state import clock, delivery, options
from tools.stripe_sandbox.state.errors import Refused
from tools.stripe_sandbox.state.store import Document, Transaction, store
from tools.stripe_sandbox.subscriptions import periods

SHOWN = 20
SHOWN_EVENTS = 40


@require_safe
def operator(request: HttpRequest) -> HttpResponse:
    return page(request)


@require_POST
def act(request: HttpRequest, noun: str, key: str, verb: str) -> HttpResponse:
    """Do what a button of the page says."""
    try:
        actions.act(noun, key, verb, request.POST.dict())
    except Refused as refusal:
        return page(request, refusal)
    return hosted.see_other("/")


def page(request: HttpRequest, refusal: Refused | None = None) -> HttpResponse:
    with store().transaction() as db:
        context = _context(db)
    context["refusal"] = refusal
    return render(request, "operator.html", context, status=refusal.status if refusal else 200)


def _context(db: Transaction) -> dict[str, Any]:
    customers = {each["id"]: each for each in db.find("customer", _deleted=False)}
    names = {key: each["name"] or each["email"] or key for key, each in customers.items()}
    return {
        "customers": list(customers.values())[:SHOWN],
        "subscriptions": [
            _subscription(db, each, names) for each in db.find("subscription")[:SHOWN]
        ],
        "invoices": [
            invoices.current(db, each) | {"who": names.get(each["customer"], each["customer"])}
            for each in db.find("invoice")[:SHOWN]
        ],
        "charges": [_charge(db, each, names) for each in db.find("charge")[:SHOWN]],
        "events": _events(db),
        "waiting": db.rows("SELECT COUNT(*) AS n FROM deliveries WHERE delivered IS NULL")[0]["n"],
        "delivery": delivery.current(),
        "draft_seconds": options.current().draft_seconds,
        "ahead": options.current().clock_offset_seconds,
        "now": clock.now(),
        "base_url": settings.BASE_URL,
    }


def _subscription(db: Transaction, subscription: Document, names: dict[str, str]) -> dict[str, Any]:
    """A row of the page, with the usage of the current period so far."""
    start, end = periods.span(subscription)
    used = []
    for item in subscription["items"]["data"]:
        price = item["price"]
        count = usage.quantity(
            db, price["recurring"]["meter"], subscription["customer"], start, end
        )
        product = db.get("product", price["product"])
        cents = lines.cents(count, price["unit_amount_decimal"])
        used.append({"name": product["name"], "count": count, "cents": cents})
    return {
        "id": subscription["id"],
        "status": subscription["status"],
        "who": names.get(subscription["customer"], subscription["customer"]),
        "start": start,
        "end": end,
        "ends": subscription["cancel_at_period_end"],
        "runs": subscription["status"] not in subscription_status.ENDED,
        "used": used,
        "cents": sum(each["cents"] for each in used),
    }


def _charge(db: Transaction, charge: Document, names: dict[str, str]) -> dict[str, Any]:
    disputes = db.find("dispute", charge=charge["id"])
    return {
        **charge,
        "invoice": charge["_invoice"],
        "who": names.get(charge["customer"], charge["customer"]),
        "dispute": disputes[0] if disputes else None,
    }


def _events(db: Transaction) -> list[dict[str, Any]]:
    rows = db.rows(
        "SELECT deliveries.*, documents.created, json_extract(body, '$.type') AS type "
        "FROM deliveries JOIN documents USING (number) ORDER BY number DESC LIMIT ?",
        SHOWN_EVENTS,
    )
    return [dict(row) for row in rows]
