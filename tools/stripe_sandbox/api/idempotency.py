"""Idempotency keys: what was answered under a key is answered again for 24 hours, a 500 too.

Stripe's rule: an answer is kept once the endpoint began to work. What fails before (parameters, the API key, a
limit, another request that runs under the key) is not kept. Keys count on POST alone.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from tools.stripe_sandbox.state import clock
from tools.stripe_sandbox.state.claims import Claims
from tools.stripe_sandbox.state.errors import Refused
from tools.stripe_sandbox.state.store import Transaction

LIFETIME_SECONDS = 24 * 3600
# Refusals that were no result of the work.
UNKEPT = frozenset({401, 409, 429})


@dataclass(frozen=True)
class Answer:
    """Status, body and headers as they go out."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


keys_in_use = Claims()


def in_use(key: str) -> Refused:
    return Refused(
        "There is currently another in-progress request using this Idempotent Key (that probably means "
        f"you submitted twice, and the other request is still going through): {key}. Please try again "
        "later.",
        code="idempotency_key_in_use",
        status=409,
        kind="idempotency_error",
    )


def fingerprint(method: str, path: str, params: dict[str, Any]) -> str:
    """A digest that is equal for equal requests."""
    text = json.dumps([method, path, params], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def kept_answer(db: Transaction, key: str, mark: str) -> Answer | None:
    """What was answered under this key.

    Raises:
        Refused: the key was used for another request.
    """
    db.change("DELETE FROM answers WHERE created < ?", clock.now() - LIFETIME_SECONDS)
    found = db.rows("SELECT * FROM answers WHERE key = ?", key)
    if not found:
        return None
    row = found[0]
    if row["fingerprint"] != mark:
        raise Refused(
            "Keys for idempotent requests can only be used with the same parameters they were first used "
            f"with. Try using a key other than '{key}' if you meant to execute a different request.",
            kind="idempotency_error",
        )
    headers = json.loads(row["headers"])
    headers["Original-Request"] = headers["Request-Id"]
    headers["Idempotent-Replayed"] = "true"
    return Answer(row["status"], json.loads(row["body"]), headers)


def keep(db: Transaction, key: str, mark: str, answer: Answer) -> None:
    """Remember the answer, unless it tells of no work."""
    if answer.status in UNKEPT:
        return
    db.change(
        "INSERT INTO answers (key, fingerprint, created, status, headers, body) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        *(key, mark, clock.now(), answer.status),
        *(json.dumps(answer.headers), json.dumps(answer.body)),
    )
