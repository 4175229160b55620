"""Meter events: what was used, when, by whom; and the sums of it."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from tools.stripe_sandbox.state import clock, documents, faults, options
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.claims import Claims
from tools.stripe_sandbox.state.errors import Refused, absent
from tools.stripe_sandbox.state.store import Document, Transaction

IDENTIFIER_SECONDS = 24 * 3600
OLDEST_SECONDS = 35 * 24 * 3600
AHEAD_SECONDS = 5 * 60
MOST_DIGITS = 15
NO_RETRY = {"stripe-should-retry": "false"}
WINDOW_SECONDS = {"hour": 3600, "day": 86_400}
COUNTED = "rejection = '' AND cancelled = 0"

in_flight = Claims()


def claim_of(params: dict[str, Any]) -> tuple[str, str]:
    """Whose events must come one after the other: one call for each customer and meter."""
    return params["payload"].get("stripe_customer_id", ""), params["event_name"]


class Overlap(Refused):
    """A second call came while the first was still in flight."""


def overlap() -> Refused:
    """What the second is told."""
    return Overlap(
        "This object cannot be accessed right now because another API request or Stripe process is "
        "currently accessing it. If you see this error intermittently, retry the request.",
        code="lock_timeout",
        status=429,
    )


def create(call: Call) -> Document:
    """Stripe takes events for customers and meters that it does not know, and reports them later."""
    params, now = call.params, clock.now()
    identifier = params.get("identifier") or documents.new_id("mevt")
    timestamp = params.get("timestamp", now)
    _check_time(timestamp, now)
    value = _value(params["payload"])
    seen = call.db.rows(
        "SELECT 1 FROM usage WHERE identifier = ? AND received > ?",
        *(identifier, now - IDENTIFIER_SECONDS),
    )
    if seen:
        raise Refused(
            f"The event cannot be created: an event already exists with identifier {identifier}.",
            param="identifier",
            headers=NO_RETRY,
        )
    customer = params["payload"].get("stripe_customer_id", "")
    meter, rejection = judge(call.db, params["event_name"], customer)
    call.db.change(
        "INSERT INTO usage (identifier, event_name, meter, customer, value, timestamp, received, "
        "request_key, rejection) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *(identifier, params["event_name"], meter, customer, value, timestamp, clock.exact()),
        *(call.db.request_key, rejection),
    )
    return {
        "object": "billing.meter_event",
        "created": now,
        "event_name": params["event_name"],
        "identifier": identifier,
        "livemode": False,
        "payload": params["payload"],
        "timestamp": timestamp,
    }


def _check_time(timestamp: int, now: int) -> None:
    if timestamp < now - OLDEST_SECONDS:
        raise Refused(
            "The timestamp must be within the past 35 calendar days.",
            code="timestamp_too_far_in_past",
            param="timestamp",
        )
    if timestamp > now + AHEAD_SECONDS:
        raise Refused(
            "The timestamp must be within 5 minutes in the future.",
            code="timestamp_in_future",
            param="timestamp",
        )


def _value(payload: dict[str, str]) -> int:
    text = payload.get("value", "")
    if not (text.isascii() and text.isdecimal()):
        raise Refused(
            f"The value must be a whole number that is not negative: {text!r}.",
            code="meter_event_invalid_value",
            param="payload[value]",
        )
    if len(text) > MOST_DIGITS:
        raise Refused(
            f"The value has more than {MOST_DIGITS} digits.",
            code="meter_event_value_too_many_digits",
            param="payload[value]",
        )
    return int(text)


def judge(db: Transaction, event_name: str, customer: str) -> tuple[str, str]:
    """The meter of an event, and the code with which it will be rejected later, if it will be."""
    meters = db.find("billing.meter", event_name=event_name)
    if not meters:
        return "", "no_meter"
    known = db.get_or_none("customer", customer)
    if not customer:
        code = "meter_event_no_customer_defined"
    elif known is None or known["_deleted"]:
        code = "meter_event_customer_not_found"
    elif fault := faults.faults.matching(faults.LATE, "POST", "/v1/billing/meter_events"):
        code = fault.code or "meter_event_customer_not_found"
    else:
        code = ""
    return meters[0]["id"], code


def adjust(call: Call) -> Document:
    """Take an event back, within 24 hours of its arrival."""
    identifier = call.params.get("cancel", {}).get("identifier")
    if not identifier:
        raise absent("cancel[identifier]")
    found = call.db.rows(
        "SELECT * FROM usage WHERE identifier = ? AND event_name = ? ORDER BY number DESC",
        *(identifier, call.params["event_name"]),
    )
    if not found:
        raise Refused(
            f"No meter event was found with identifier {identifier}.",
            code="resource_missing",
            param="cancel[identifier]",
        )
    if found[0]["received"] < clock.now() - IDENTIFIER_SECONDS:
        raise Refused("Meter events can be cancelled within 24 hours.", param="cancel[identifier]")
    call.db.change("UPDATE usage SET cancelled = 1 WHERE number = ?", found[0]["number"])
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "event_name": call.params["event_name"],
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }


def quantity(
    db: Transaction, meter: str, customer: str, start: int, end: int, *, lag: float = 0
) -> int:
    """What counts from `start` up to, and without, `end`."""
    rows = db.rows(
        "SELECT COALESCE(SUM(value), 0) AS total FROM usage WHERE meter = ? AND customer = ? "  # noqa: S608 - our own words
        f"AND timestamp >= ? AND timestamp < ? AND received <= ? AND {COUNTED}",
        *(meter, customer, start, end, clock.exact() - lag),
    )
    return int(rows[0]["total"])


def summaries(call: Call) -> Document:
    """One sum of the whole span or, with a window, one for each hour or day that has usage. The newest first."""
    params = call.params
    meter = call.db.get("billing.meter", call.args["id"])
    start, end = params["start_time"], params["end_time"]
    window = params.get("value_grouping_window")
    unit = WINDOW_SECONDS.get(window or "", 60)
    for name, moment in (("start_time", start), ("end_time", end)):
        if moment % unit:
            noun = window or "minute"
            raise Refused(f"{name} must be aligned with {noun} boundaries.", param=name)
    if end <= start:
        raise Refused("end_time must be later than start_time.", param="end_time")
    data = []
    for since, until in _spans(start, end, unit if window else end - start):
        total = quantity(
            call.db,
            *(meter["id"], params["customer"], since, until),
            lag=options.current().summary_lag_seconds,
        )
        if total or not window:
            data.append(_summary(meter["id"], params["customer"], since, until, total))
    url = f"/v1/billing/meters/{meter['id']}/event_summaries"
    return documents.page_of_parts(data[::-1], params, url)


def _spans(start: int, end: int, width: int) -> Iterator[tuple[int, int]]:
    return pairwise(range(start, end + 1, width))


def _summary(meter: str, customer: str, start: int, end: int, total: int) -> Document:
    return {
        "id": f"mtrusg_{meter[-8:]}_{customer[4:12]}_{start}_{end}",
        "object": "billing.meter_event_summary",
        "aggregated_value": float(total),
        "end_time": end,
        "livemode": False,
        "meter": meter,
        "start_time": start,
    }
