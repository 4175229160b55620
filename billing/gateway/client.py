"""The client of Stripe's library, and `calling`, which every call goes through."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import stripe
from django.conf import settings
from django.db import connection

from billing.gateway.errors import (
    CallInsideTransaction,
    StripeAway,
    StripeKeyRefused,
    StripeRefused,
)

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
# Without a figure the library never repeats; it repeats lost connections, 409 and 5xx, and never 429.
NETWORK_RETRIES = 2
CONFLICT = 409
TOO_MANY = 429


@lru_cache(maxsize=4)
def client_for(key: str, base: str) -> stripe.StripeClient:
    """One client for each key and server: it keeps connections open."""
    return stripe.StripeClient(
        key,
        base_addresses={"api": base, "connect": base, "files": base, "meter_events": base}
        if base
        else None,
        max_network_retries=NETWORK_RETRIES,
        http_client=stripe.RequestsClient(timeout=(CONNECT_SECONDS, READ_SECONDS)),
    )


def is_configured() -> bool:
    """Whether this installation has a Stripe key."""
    return bool(settings.STRIPE_SECRET_KEY)


def refuse_inside_transaction() -> None:
    """Refuse a call while a transaction is open; the one that a test case wraps around itself does not count.

    Raises:
        CallInsideTransaction
    """
    if any(not block._from_testcase for block in connection.atomic_blocks):  # type: ignore[attr-defined]  # noqa: SLF001 - as Django's own `durable` does
        raise CallInsideTransaction("A call to Stripe was about to be made inside a transaction.")


@contextmanager
def calling() -> Iterator[stripe.StripeClient]:
    """The client, for one call: outside of any transaction, and with errors in our four kinds.

    Raises:
        CallInsideTransaction, StripeAway, StripeRefused, StripeKeyRefused
    """
    refuse_inside_transaction()
    if not is_configured():
        raise StripeKeyRefused("STRIPE_SECRET_KEY is not set.")
    try:
        yield client_for(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE)
    except stripe.APIConnectionError as error:
        raise StripeAway(f"Stripe could not be reached: {message_of(error)}") from error
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        raise StripeKeyRefused(f"Stripe refused the key: {message_of(error)}") from error
    except stripe.StripeError as error:
        status = error.http_status or 0
        if status in {CONFLICT, TOO_MANY} or status >= 500:  # noqa: PLR2004 - HTTP's
            raise StripeAway(f"Stripe answered {status}: {message_of(error)}") from error
        raise StripeRefused(message_of(error), status=status, code=error.code or "") from error


def message_of(error: stripe.StripeError) -> str:
    """Stripe's message in one short line. Its 401 repeats the end of the key, so that one is replaced."""
    if isinstance(error, stripe.AuthenticationError):
        return "the key is unknown or has expired."
    text = " ".join((error.user_message or type(error).__name__).split())
    return text[:300]
