"""What happens by itself as time passes: periods end, drafts become final, sessions expire, trouble is reported."""

from operator import itemgetter
from typing import Any

from tools.stripe_sandbox.invoices import invoices, payments
from tools.stripe_sandbox.state import clock, events, options
from tools.stripe_sandbox.state.store import Document, Transaction
from tools.stripe_sandbox.subscriptions import checkout, periods

# Rejections are collected until it is quiet for so long, or for so long in all (Stripe: about an hour), and
# of each kind so many are named.
QUIET_SECONDS = 0.5
REPORT_SECONDS = 10.0
SAMPLES = 5
# With objects of these kinds and statuses something happens by itself.
WAITING = {
    "subscription": ["active", "past_due", "unpaid"],
    "invoice": ["draft", "open"],
    "checkout.session": ["open"],
}


def run_due(db: Transaction) -> None:
    """Everything that is due by now, one after the other, each at the moment at which it was due."""
    until = clock.exact()
    while found := sorted(_due_by(db, until), key=itemgetter(0)):
        # What these bring about is due later than all of them: no period is shorter than a day.
        horizon = found[0][0] + min(options.current().draft_seconds, 86_400)
        for moment, kind, key in found:
            if moment <= horizon:
                with clock.at(moment):
                    _happen(db, kind, key)
    report_rejections(db)


def _due_by(db: Transaction, until: float) -> list[tuple[float, str, str]]:
    """Moment, kind and id of every object with which something happens by then."""
    return [
        (moment, each["object"], each["id"])
        for kind, statuses in WAITING.items()
        for each in db.find(kind, status=statuses)
        if (moment := _due_at(each)) is not None and moment <= until
    ]


def _due_at(each: Document) -> float | None:
    """When something happens with it by itself, if ever."""
    moment: float | None
    if each["object"] == "subscription":
        moment = periods.span(each)[1]
    elif each["object"] == "checkout.session":
        moment = each["expires_at"]
    elif each["status"] == "draft":
        moment = each["_final_at"]
    else:
        moment = each["next_payment_attempt"]
    return moment


def _happen(db: Transaction, kind: str, key: str) -> None:
    """What is due with that object, unless what came before has made it needless."""
    each = db.get(kind, key)
    moment = _due_at(each)
    if each["status"] not in WAITING[kind] or moment is None or moment > clock.exact():
        return
    if kind == "subscription":
        periods.end_period(db, each, int(moment))
    elif kind == "checkout.session":
        checkout.expire(db, each)
    elif each["status"] == "draft":
        invoices.finalize(db, each, collect=True)
    else:
        payments.attempt(db, each)


def report_rejections(db: Transaction) -> None:
    """One thin event for each meter, and one for events whose name no meter has."""
    rows = db.rows("SELECT * FROM usage WHERE rejection != '' AND reported = 0 ORDER BY number")
    if not rows:
        return
    waited = clock.exact() - rows[0]["received"]
    quiet = clock.exact() - rows[-1]["received"]
    if quiet < QUIET_SECONDS and waited < REPORT_SECONDS:
        return
    for meter in dict.fromkeys(row["meter"] for row in rows):
        _report(db, meter, [row for row in rows if row["meter"] == meter])
    db.change(
        "UPDATE usage SET reported = 1 WHERE rejection != '' AND number <= ?", rows[-1]["number"]
    )


def _report(db: Transaction, meter: str, rows: list[Any]) -> None:
    codes = dict.fromkeys(row["rejection"] for row in rows)
    kinds = [_kind(code, [row for row in rows if row["rejection"] == code]) for code in codes]
    data = {
        "developer_message_summary": f"There are {len(rows)} invalid meter events.",
        "reason": {"error_count": len(rows), "error_types": kinds},
        "validation_start": clock.iso(int(rows[0]["received"])),
        "validation_end": clock.iso(int(rows[-1]["received"]) + 1),
    }
    if not meter:
        events.emit_thin(db, "v1.billing.meter.no_meter_found", data, None)
        return
    related = {"id": meter, "type": "billing.meter", "url": f"/v1/billing/meters/{meter}"}
    events.emit_thin(db, "v1.billing.meter.error_report_triggered", data, related)


def _kind(code: str, rows: list[Any]) -> Document:
    """One reason with the first of its events. A request is named by its idempotency key."""
    samples = [
        {
            "error_message": f"The event {row['identifier']} was not counted: {code}.",
            "request": {"identifier": row["request_key"]},
        }
        for row in rows[:SAMPLES]
    ]
    return {"code": code, "error_count": len(rows), "sample_errors": samples}
