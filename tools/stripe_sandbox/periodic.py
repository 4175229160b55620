"""What happens by itself as time passes: periods end, drafts become final, sessions expire, trouble is reported."""

import logging
import threading
import time
from typing import Any

from tools.stripe_sandbox.invoices import invoices, payments
from tools.stripe_sandbox.state import clock, events
from tools.stripe_sandbox.state.store import Document, Transaction, store
from tools.stripe_sandbox.subscriptions import checkout, periods

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
# Rejections are collected until it is quiet for so long, or for so long in all (Stripe: about an hour), and
# of each kind so many are named.
QUIET_SECONDS = 0.5
REPORT_SECONDS = 10.0
SAMPLES = 5


def start() -> None:
    """Start the thread; each process calls this once."""
    threading.Thread(target=_run, name="periodic", daemon=True).start()


def _run() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        try:
            with store().transaction() as db:
                run_due(db)
        except Exception:
            logger.exception("a periodic step failed")


def run_due(db: Transaction) -> None:
    """Everything that is due by now."""
    now = clock.now()
    for subscription in db.find("subscription", status=["active", "past_due", "unpaid"]):
        end = periods.span(subscription)[1]
        if end <= now:
            periods.end_period(db, subscription, end)
    for invoice in db.find("invoice", status="draft", auto_advance=True):
        if invoice["_final_at"] <= clock.exact():
            invoices.finalize(db, invoice, collect=True)
    for invoice in db.find("invoice", status="open"):
        if (invoice["next_payment_attempt"] or now + 1) <= now:
            payments.attempt(db, invoice)
    for session in db.find("checkout.session", status="open"):
        if session["expires_at"] <= now:
            checkout.expire(db, session)
    report_rejections(db)


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
