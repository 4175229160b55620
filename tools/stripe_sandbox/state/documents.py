"""What all objects of the API have in common: ids, metadata, what is shown of them, lists, expansion."""

import secrets
import string
from typing import Any

from tools.stripe_sandbox.state import clock
from tools.stripe_sandbox.state.errors import Refused, missing
from tools.stripe_sandbox.state.store import Document, Transaction

LETTERS = string.ascii_letters + string.digits
# How many parts an object shows of itself; the rest is behind the list's own address.
SHOWN_PARTS = 10
# Members that hold an id, and the kind of object that `expand` puts in its place.
EXPANDABLE = {
    "balance_transaction": "balance_transaction",
    "charge": "charge",
    "configuration": "billing_portal.configuration",
    "customer": "customer",
    "default_payment_method": "payment_method",
    "invoice": "invoice",
    "latest_charge": "charge",
    "latest_invoice": "invoice",
    "payment_intent": "payment_intent",
    "payment_method": "payment_method",
    "price": "price",
    "product": "product",
    "subscription": "subscription",
}
KEPT_SECONDS = {"event": 30 * 86_400}
# Shown only to those who ask for them by `expand`.
INCLUDABLE = {"checkout.session.line_items", "invoice.payments"}


def new_id(prefix: str, length: int = 24) -> str:
    """An id that was never given before."""
    return f"{prefix}_" + "".join(secrets.choice(LETTERS) for _ in range(length))


def new_object(kind: str, prefix: str, **members: Any) -> Document:
    """The beginnings of an object. Members whose names begin with _ are ours and are never shown."""
    return {
        "id": new_id(prefix),
        "object": kind,
        "created": clock.now(),
        "livemode": False,
        "metadata": {},
        **members,
    }


def update(body: Document, params: Document, *names: str) -> Document:
    """Take over the parameters of those names. Metadata is merged; an empty text unsets."""
    for name in names:
        if name not in params:
            continue
        value = params[name]
        if name == "metadata":
            body["metadata"] = merged_metadata(body["metadata"], value)
        else:
            body[name] = None if value == "" else value
    return body


def merged_metadata(old: dict[str, str], new: dict[str, str] | str) -> dict[str, str]:
    """Stripe's rule: keys that are given replace, an empty value deletes a key, an empty whole deletes all."""
    if isinstance(new, str):
        return {}
    return {key: value for key, value in {**old, **new}.items() if value != ""}


def existing(db: Transaction, kind: str, key: str, param: str) -> Document:
    """The object that a parameter names; one that was deleted is none."""
    body = db.get(kind, key, param)
    if body.get("_deleted"):
        raise missing(kind, key, param)
    return body


def stump(body: Document) -> Document:
    """What is left of a deleted object."""
    return {"id": body["id"], "object": body["object"], "deleted": True}


def listing(url: str, data: list[Document], *, has_more: bool = False) -> Document:
    """Stripe's object for a list, which holds one page of it."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def page(db: Transaction, kind: str, params: Document, url: str, **where: object) -> Document:
    """A list of stored objects as the paging parameters ask for it."""
    created = params.get("created", {})
    if isinstance(created, int):
        created = {"gte": created, "lte": created}
    data, has_more = db.page(
        kind,
        where,
        limit=limit_of(params),
        after=anchor(db, kind, params, "starting_after"),
        before=anchor(db, kind, params, "ending_before"),
        since=max(oldest(kind), created.get("gte", 0), created.get("gt", -1) + 1),
        until=min(created.get("lt", 2**60), created.get("lte", 2**60) + 1),
    )
    return listing(url, data, has_more=has_more)


def oldest(kind: str) -> int:
    """Objects of this kind that were made before then are not shown any more."""
    return clock.now() - KEPT_SECONDS[kind] if kind in KEPT_SECONDS else 0


def anchor(db: Transaction, kind: str, params: Document, name: str) -> str:
    """The id from which a page is counted; it must exist."""
    key: str = params.get(name, "")
    if key:
        db.get(kind, key, name)
    return key


def limit_of(params: Document) -> int:
    """How long a page may be.

    Raises:
        Refused: shorter than 1 or longer than 100.
    """
    limit: int = params.get("limit", 10)
    if not 1 <= limit <= 100:  # noqa: PLR2004 - Stripe's limit
        raise Refused(
            "Invalid integer: must be between 1 and 100.",
            code="parameter_invalid_integer",
            param="limit",
        )
    return limit


def page_of_parts(parts: list[Document], params: Document, url: str) -> Document:
    """A page of a list that is part of an object."""
    ids = [part["id"] for part in parts]
    if key := params.get("starting_after"):
        parts = parts[ids.index(key) + 1 :] if key in ids else []
    if key := params.get("ending_before"):
        parts = parts[: ids.index(key)] if key in ids else []
    limit = limit_of(params)
    return listing(url, parts[:limit], has_more=len(parts) > limit)


def shown(body: Any) -> Any:
    """What the caller sees: nothing of ours, and the first ten parts of a list that is part of an object."""
    if isinstance(body, list):
        return [shown(each) for each in body]
    if not isinstance(body, dict):
        return body
    seen = {
        name: value if name == "metadata" else shown(value)
        for name, value in body.items()
        if not name.startswith("_") and f"{body.get('object')}.{name}" not in INCLUDABLE
    }
    for name in ("items", "lines"):
        part = seen.get(name)
        if isinstance(part, dict) and part.get("object") == "list":
            part["has_more"] = len(part["data"]) > SHOWN_PARTS
            part["total_count"] = len(part["data"])
            part["data"] = part["data"][:SHOWN_PARTS]
    return seen


def answer(db: Transaction, body: Document, expand: list[str]) -> Document:
    """The object as it is sent, with what was asked for by `expand` in place of ids."""
    seen: Document = shown(body)
    for path in expand:
        _expand(db, body, seen, path, path)
    return seen


def _expand(db: Transaction, body: Any, seen: Any, path: str, whole: str) -> None:
    if seen is None:
        return
    if isinstance(seen, list):
        for raw, each in zip(body, seen, strict=False):
            _expand(db, raw, each, path, whole)
        return
    name, _, rest = path.partition(".")
    includable = isinstance(body, dict) and f"{body.get('object')}.{name}" in INCLUDABLE
    if not includable and (not isinstance(seen, dict) or name not in seen):
        raise _not_expandable(whole)
    value = body[name]
    if isinstance(value, str) and name in EXPANDABLE:
        value = db.get(EXPANDABLE[name], value)
        value = stump(value) if value.get("_deleted") else value
        seen[name] = shown(value)
    elif includable:
        seen[name] = shown(value)
    elif not rest and name not in EXPANDABLE:
        raise _not_expandable(whole)
    if rest:
        _expand(db, value, seen[name], rest, whole)


def _not_expandable(path: str) -> Refused:
    return Refused(
        f"This property cannot be expanded ({path}).", code="parameter_invalid", param="expand"
    )
