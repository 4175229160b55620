"""Webhooks: whether Stripe sent them, what they are, and the details of the thin ones."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import stripe
from django.conf import settings

from billing.gateway.client import calling

TOLERANCE_SECONDS = 300
# How many types Stripe lists at once.
MOST_TYPES = 20


# The lengths of WebhookEvent's columns; Stripe's values are shorter.
LONGEST = {"id": 255, "type": 100, "object_id": 255}


class Unverified(Exception):
    """The body was not signed with one of our secrets, or long ago; or it is no event."""


class WrongSignature(Unverified):
    """There is a signature, but of another secret, or of another time than our clock's."""


@dataclass(frozen=True)
class Event:
    """What we keep of an event: that something happened to an object, whose state we then read at Stripe."""

    id: str
    type: str
    object_id: str
    created: datetime


def verify(body: bytes, signature: str) -> Event:
    """The event in a request to our webhook address.

    Raises:
        Unverified
    """
    secrets = {settings.STRIPE_WEBHOOK_SECRET, settings.STRIPE_THIN_WEBHOOK_SECRET} - {""}
    if not secrets:
        raise Unverified("STRIPE_WEBHOOK_SECRET is not set.")
    if not any(_signed_with(secret, body, signature) for secret in sorted(secrets)):
        refused = WrongSignature if "v1=" in signature else Unverified
        raise refused("The signature does not match, or is too old.")
    try:
        return _kept(_event_of(json.loads(body)))
    # RecursionError: nested too deeply. OverflowError, OSError: a time that no calendar has.
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
        OSError,
    ) as error:
        raise Unverified("The body is no event.") from error


def _signed_with(secret: str, body: bytes, signature: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, signature, secret, TOLERANCE_SECONDS)
        # The library looks at the past alone.
        moments = [part[2:] for part in signature.split(",") if part.startswith("t=")]
        return int(moments[0]) <= time.time() + TOLERANCE_SECONDS
    except (stripe.SignatureVerificationError, ValueError, IndexError, TypeError):
        # TypeError: a signature that is not ASCII.
        return False


def _event_of(body: Any) -> Event:
    """The event in either form: a snapshot contains the object, a thin one refers to it."""
    if body["object"] == "v2.core.event":
        related = body.get("related_object") or {}
        created = datetime.fromisoformat(body["created"])
        return Event(body["id"], body["type"], str(related.get("id") or ""), created)
    if body["object"] != "event":
        raise ValueError(body["object"])
    created = datetime.fromtimestamp(body["created"], UTC)
    return Event(body["id"], body["type"], str(body["data"]["object"].get("id") or ""), created)


def _kept(event: Event) -> Event:
    """The event, if our table can hold it."""
    for name, longest in LONGEST.items():
        text = getattr(event, name)
        if not isinstance(text, str) or len(text) > longest or "\0" in text:
            raise ValueError(name)
    if event.created.tzinfo is None:
        raise ValueError("created")
    return event


def listed(*, types: Sequence[str], start: datetime, end: datetime) -> Iterator[Event]:
    """The events of those types that Stripe has made from `start` to before `end`; whole seconds, up to 30 days ago.

    Thin events are in no list of Stripe's that can be asked for a time.
    """
    for first in range(0, len(types), MOST_TYPES):
        with calling() as client:
            page = client.v1.events.list(
                {
                    "types": list(types[first : first + MOST_TYPES]),
                    "created": {"gte": int(start.timestamp()), "lt": int(end.timestamp())},
                    "limit": 100,
                }
            )
            for event in page.auto_paging_iter():
                yield _kept(_event_of(event.to_dict()))


@dataclass(frozen=True)
class MeterErrors:
    """A report of events that were accepted and then thrown away; it lists only samples.

    `samples` are pairs of the request's idempotency key and the reason.
    """

    meter_id: str
    count: int
    samples: list[tuple[str, str]]
    summary: str


def meter_errors(event_id: str) -> MeterErrors:
    """The report that a thin event announces."""
    with calling() as client:
        event: Any = client.v2.core.events.retrieve(event_id)
    related = getattr(event, "related_object", None)
    reason = event.data.reason
    return MeterErrors(
        meter_id=related.id if related else "",
        count=reason.error_count,
        samples=[
            (sample.request.identifier, kind.code)
            for kind in reason.error_types
            for sample in kind.sample_errors
        ],
        summary=event.data.developer_message_summary,
    )
