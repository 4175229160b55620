"""Events: each change is written down in the transaction that makes it, and `delivery` sends it later."""

import fnmatch
from typing import Any

from tools.stripe_sandbox.state import clock, documents
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused, missing
from tools.stripe_sandbox.state.store import Document, Transaction

API_VERSION = "2026-10-28.endive"
MOST_TYPES = 20


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


def retrieve(call: Call) -> Document:
    event = call.db.get("event", call.args["id"])
    if event["created"] < documents.oldest("event"):
        raise missing("event", event["id"])
    return event


def listed(call: Call) -> Document:
    """Snapshot events, the newest first; those that were delivered have no pending webhooks."""
    db, params = call.db, call.params
    where: dict[str, object] = {}
    if "delivery_success" in params:
        where["pending_webhooks"] = 0 if params["delivery_success"] else 1
    if "type" in params and "types" in params:
        raise Refused("You may pass either type or types, but not both.", param="types")
    if "types" in params or "type" in params:
        where["type"] = _types(db, params)
    return documents.page(db, "event", params, "/v1/events", **where)


def _types(db: Transaction, params: Document) -> list[str]:
    """Those that are wanted by name, or by a pattern such as `invoice.*`."""
    if "types" in params:
        types: list[str] = params["types"]
        if len(types) > MOST_TYPES:
            raise Refused(f"There can be at most {MOST_TYPES} types.", param="types")
        return types
    rows = db.rows(
        "SELECT DISTINCT json_extract(body, '$.type') AS type FROM documents WHERE kind = 'event'"
    )
    return [row["type"] for row in rows if fnmatch.fnmatchcase(row["type"], params["type"])]


def mark_delivered(db: Transaction, key: str) -> None:
    """Nobody waits for this event any more."""
    db.change(
        "UPDATE documents SET body = json_set(body, '$.pending_webhooks', 0) "
        "WHERE kind = 'event' AND id = ?",
        key,
    )
