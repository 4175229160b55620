"""Events: each change is written down in the transaction that makes it, and `delivery` sends it later."""

from typing import Any

from tools.stripe_sandbox.state import clock, documents
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.store import Document, Transaction

API_VERSION = "2026-10-28.endive"


def emit(db: Transaction, kind: str, body: Document) -> None:
    """A snapshot event: it carries the object as it is now."""
    request = {"id": db.request_id or None, "idempotency_key": db.request_key or None}
    event = documents.new_object(
        "event",
        "evt",
        type=kind,
        api_version=API_VERSION,
        data={"object": documents.shown(body)},
        pending_webhooks=1,
        request=request,
    )
    del event["metadata"]
    _keep(db, event, event["created"])


def emit_thin(
    db: Transaction, kind: str, data: dict[str, Any], related: dict[str, str] | None
) -> None:
    """A thin event: what is delivered names the object; `data` is read with GET /v2/core/events/{id}."""
    created = clock.now()
    event = {
        "id": documents.new_id("evt_test", 40),
        "object": "v2.core.event",
        "type": kind,
        "created": clock.iso(created),
        "livemode": False,
        "context": None,
        "reason": None,
        "data": data,
    }
    if related:
        event["related_object"] = related
    _keep(db, event, created)


def _keep(db: Transaction, event: Document, created: int) -> None:
    db.add(event, created)
    db.change(
        "INSERT INTO deliveries (number, event) SELECT number, id FROM documents "
        "WHERE kind = ? AND id = ?",
        *(event["object"], event["id"]),
    )


def retrieve_thin(call: Call) -> Document:
    return call.db.get("v2.core.event", call.args["id"])
