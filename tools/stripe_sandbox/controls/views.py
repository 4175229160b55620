"""What tests and the operator's page may do beyond the API: faults, time, banks, and a look at the state."""

import json
import math
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from tools.stripe_sandbox.catalog import usage
from tools.stripe_sandbox.controls import actions, due
from tools.stripe_sandbox.state import clock, delivery, events, faults, options
from tools.stripe_sandbox.state.counts import counts
from tools.stripe_sandbox.state.documents import shown
from tools.stripe_sandbox.state.errors import Refused
from tools.stripe_sandbox.state.store import store
from tools.stripe_sandbox.subscriptions import checkout

View = Callable[..., dict[str, Any]]


def control(*methods: str) -> Callable[[View], Callable[..., HttpResponse]]:
    """A view that takes those methods and answers JSON; refusals have Stripe's shape."""

    def decorate(view: View) -> Callable[..., HttpResponse]:
        def answer(request: HttpRequest, **ids: str) -> HttpResponse:
            if request.method not in methods:
                return JsonResponse({"error": {"message": f"Use {methods}."}}, status=405)
            try:
                return JsonResponse(view(request, **ids))
            except Refused as refusal:
                return JsonResponse(refusal.body, status=refusal.status)

        return answer

    return decorate


def given(request: HttpRequest) -> dict[str, Any]:
    """The JSON of the request.

    Raises:
        Refused: it is no object.
    """
    try:
        body = json.loads(request.body or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused("The body must be a JSON object.")
    return body


@control("GET")
def healthz(_request: HttpRequest) -> dict[str, Any]:
    with store().transaction() as db:
        db.rows("SELECT 1")
    return {"status": "ok"}


@control("GET", "POST", "DELETE")
def all_faults(request: HttpRequest) -> dict[str, Any]:
    if request.method == "POST":
        try:
            faults.faults.add(faults.Fault(**given(request)))
        except TypeError as error:
            raise Refused(f"Not a fault: {error}") from None
    elif request.method == "DELETE":
        faults.faults.clear()
    return {"faults": faults.faults.told()}


@control("POST")
def act(request: HttpRequest, noun: str, key: str, verb: str) -> dict[str, Any]:
    return actions.act(noun, key, verb, given(request))


@control("POST")
def complete_checkout(request: HttpRequest, key: str) -> dict[str, Any]:
    """`card`, `name`, `address`, `tax_id`, and `async`: `succeeded` or `failed`."""
    body = given(request)
    card, later = body.pop("card", "4242424242424242"), body.pop("async", "")
    if later not in {"", "succeeded", "failed"}:
        raise Refused("A payment that is not instant succeeded or failed.", param="async")
    with store().transaction() as db:
        session = db.get("checkout.session", key)
        made = checkout.complete(db, session, card=card, details=body, later=later)
    return dict(shown(made))


@control("GET")
def used(_request: HttpRequest) -> dict[str, Any]:
    """Sums of all that counts, whenever it was used."""
    totals: dict[str, dict[str, int]] = {}
    with store().transaction() as db:
        rows = db.rows(
            "SELECT customer, event_name, SUM(value) AS total FROM usage "  # noqa: S608 - our own words
            f"WHERE {usage.COUNTED} GROUP BY customer, event_name"
        )
        for row in rows:
            totals.setdefault(row["customer"], {})[row["event_name"]] = row["total"]
        found = db.rows("SELECT COUNT(*) AS events, SUM(rejection != '') AS rejected FROM usage")[0]
    return {
        "totals": totals,
        "events": found["events"],
        "rejected": found["rejected"] or 0,
        "overlaps": counts.overlaps,
    }


@control("GET")
def event_list(request: HttpRequest) -> dict[str, Any]:
    """All events with how far they came, or only those that nobody has taken, the oldest first."""
    only = "WHERE delivered IS NULL " if request.GET.get("undelivered") else ""
    with store().transaction() as db:
        rows = db.rows(
            "SELECT deliveries.*, json_extract(body, '$.type') AS type FROM deliveries "  # noqa: S608 - our own words
            f"JOIN documents USING (number) {only}ORDER BY number"
        )
    return {"events": [{**dict(row), "id": row["event"]} for row in rows]}


@control("GET")
def event_payload(_request: HttpRequest, key: str) -> dict[str, Any]:
    """Body and signature, as they would be posted at this moment."""
    with store().transaction() as db:
        text = delivery.payload(delivery.event_of(db, key))
    return {"payload": text, "signature": delivery.signature(text)}


@control("POST")
def event_delivered(_request: HttpRequest, key: str) -> dict[str, Any]:
    """Somebody took it by hand."""
    with store().transaction() as db:
        db.change(
            "UPDATE deliveries SET delivered = ?, answer = 'by hand' WHERE event = ?",
            *(clock.now(), key),
        )
        events.mark_delivered(db, key)
    return {"delivered": key}


@control("GET", "POST")
def change_delivery(request: HttpRequest) -> dict[str, Any]:
    members = given(request) if request.method == "POST" else {}
    if not members.keys() <= {"url", "twice", "shuffle"}:
        raise Refused("There are url, twice and shuffle.")
    return vars(delivery.change(**members))


@control("GET")
def requests(_request: HttpRequest) -> dict[str, Any]:
    return counts.told()


@control("GET", "POST")
def time_of_day(request: HttpRequest) -> dict[str, Any]:
    """`advance_seconds`, or `at` in seconds since the epoch; what falls due on the way has happened then."""
    body = given(request) if request.method == "POST" else {}
    if not body.keys() <= {"advance_seconds", "at"} or len(body) > 1:
        raise Refused("Give advance_seconds or at.")
    with store().transaction() as db:
        seconds = _number(body, "advance_seconds", 0)
        if "at" in body:
            seconds = _number(body, "at", 0) - clock.exact()
        if seconds < 0:
            raise Refused("The clock goes forward only.")
        if body:
            db.set_option("clock_offset_seconds", options.current().clock_offset_seconds + seconds)
            due.run_due(db)
        ahead = options.current().clock_offset_seconds
    return {"now": clock.exact(), "ahead_seconds": ahead}


@control("GET", "POST")
def change_options(request: HttpRequest) -> dict[str, Any]:
    """`draft_seconds`, for drafts that are still to come, and `summary_lag_seconds`."""
    body = given(request) if request.method == "POST" else {}
    names = ("draft_seconds", "summary_lag_seconds")
    if not body.keys() <= set(names):
        raise Refused(f"There are {', '.join(names)}.")
    with store().transaction() as db:
        for name in body:
            db.set_option(name, _number(body, name, 0))
        return {name: getattr(options.current(), name) for name in names}


def _number(body: dict[str, Any], name: str, default: float) -> float:
    """A number of seconds that is not negative.

    Raises:
        Refused: it is none.
    """
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise Refused("The number of seconds must be 0 or more.", param=name)
    return value


@control("POST")
def reset(_request: HttpRequest) -> dict[str, Any]:
    """An empty state, no faults, no counts, deliveries, clock and options as at the start."""
    faults.faults.clear()
    counts.clear()
    delivery.reset()
    store().clear()
    return {"status": "empty"}
