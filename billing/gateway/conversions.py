"""Stripe's values as Python's: moments, references to objects, metadata."""

from datetime import UTC, datetime

import stripe


def datetime_of(seconds: int | None) -> datetime | None:
    """Stripe's Unix time as a datetime in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def id_of(thing: str | stripe.StripeObject | None) -> str | None:
    """The id of what Stripe gives as an id or, expanded, as an object."""
    if thing is None or isinstance(thing, str):
        return thing
    return str(thing["id"])


def metadata_of(metadata: stripe.StripeObject | None) -> dict[str, str]:
    """Metadata as a plain dict; empty where there is none."""
    return metadata.to_dict() if metadata is not None else {}
