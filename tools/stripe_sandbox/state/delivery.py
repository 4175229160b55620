"""Events on their way: one thread posts them, in order of creation unless told otherwise, until a 2xx."""

import hashlib
import hmac
import json
import logging
import random
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from tools.stripe_sandbox import settings
from tools.stripe_sandbox.state import clock, documents, events
from tools.stripe_sandbox.state.store import Document, Transaction, store

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
ANSWER_SECONDS = 10
MOST_ATTEMPTS = 50
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
# So many wait together before they are mixed.
SHUFFLE_SECONDS = 0.5


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Stripe follows no redirect: it is an answer like any other that is no 2xx."""

    def redirect_request(self, *_words: Any) -> None:
        return None


# No proxy of the environment stands between two programs of one machine.
straight = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)


@dataclass
class DeliverySettings:
    """Where to and how; `/sandbox/delivery` changes it until the next start."""

    url: str | None = field(default_factory=lambda: settings.STRIPE_SANDBOX_WEBHOOK_URL or None)
    twice: bool = False
    shuffle: bool = False


_current: list[DeliverySettings] = []


def current() -> DeliverySettings:
    """What holds at this moment."""
    if not _current:
        _current.append(DeliverySettings())
    return _current[0]


def change(**members: Any) -> DeliverySettings:
    """Change the named settings of the delivery."""
    for name, value in members.items():
        setattr(current(), name, value)
    return current()


def reset() -> None:
    """Forget changes: the settings are those of the environment again."""
    _current.clear()


def payload(event: Document) -> str:
    """The body that is posted. A thin event leaves its data behind."""
    hidden = {"data"} if event["object"] == "v2.core.event" else set()
    seen = {name: value for name, value in event.items() if name not in hidden}
    return json.dumps(documents.shown(seen), indent=2)


def signature(text: str) -> str:
    """The Stripe-Signature header of a body that is sent now."""
    moment = clock.now()
    signed = hmac.new(
        settings.STRIPE_WEBHOOK_SECRET.encode(), f"{moment}.{text}".encode(), hashlib.sha256
    )
    return f"t={moment},v1={signed.hexdigest()}"


def event_of(db: Transaction, key: str) -> Document:
    """The snapshot or thin event of that id."""
    found = db.get_or_none("event", key)
    return found or db.get("v2.core.event", key)


def start() -> None:
    """Start the thread; each process calls this once."""
    threading.Thread(target=_run, name="delivery", daemon=True).start()


def _run() -> None:
    while True:
        try:
            busy = deliver_due()
        except Exception:
            logger.exception("events were not delivered")
            busy = False
        if not busy:
            time.sleep(LOOK_SECONDS)


def deliver_due() -> bool:
    """Post what is due; tells whether there was anything."""
    how = current()
    if not how.url:
        return False
    if how.shuffle:
        time.sleep(SHUFFLE_SECONDS)
    with store().transaction() as db:
        due = db.rows(
            "SELECT event FROM deliveries WHERE delivered IS NULL AND attempts < ? AND due <= ? "
            "ORDER BY number LIMIT 100",
            *(MOST_ATTEMPTS, clock.machine()),
        )
    keys = [row["event"] for row in due]
    if how.shuffle:
        random.shuffle(keys)
    for key in keys:
        if current() is not how:
            break
        _deliver(key, how)
    return bool(keys)


def _deliver(key: str, how: DeliverySettings) -> None:
    with store().transaction() as db:
        text = payload(event_of(db, key))
    answer = _post(str(how.url), text)
    with store().transaction() as db:
        row = db.rows("SELECT * FROM deliveries WHERE event = ?", key)
        if row:
            _note(db, row[0]["attempts"] + 1, row[0]["copies"], key, answer, twice=how.twice)


def _note(
    db: Transaction, attempts: int, copies: int, key: str, answer: str, *, twice: bool
) -> None:
    """Keep how it went. The second copy of an event goes out like one that failed."""
    accepted = answer.startswith("2")
    copies += accepted
    done = copies >= (2 if twice else 1)
    pause = min(FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 20), LONGEST_PAUSE_SECONDS)
    db.change(
        "UPDATE deliveries SET attempts = ?, copies = ?, due = ?, answer = ?, delivered = ? "
        "WHERE event = ?",
        *(attempts, copies, clock.machine() + (0 if accepted else pause), answer),
        *(clock.now() if done else None, key),
    )
    if done:
        events.mark_delivered(db, key)


def _post(url: str, text: str) -> str:
    """The status of the answer, or what went wrong."""
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": signature(text),
        "User-Agent": "Stripe/1.0 (sandbox)",
    }
    request = urllib.request.Request(url, text.encode(), headers, method="POST")  # noqa: S310 - an address of ours
    try:
        with straight.open(request, timeout=ANSWER_SECONDS) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except OSError as error:
        return type(error).__name__
