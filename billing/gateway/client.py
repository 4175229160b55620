"""The client of Stripe's library, and `calling`, which every call goes through."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import stripe
import urllib3
from django.conf import settings
from django.db import connection

from billing.gateway.errors import (
    CallInsideTransaction,
    KeyOfAnotherRequest,
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

# By time.monotonic(); None where nobody waits, as in the Stripe worker.
_calls_end_at: ContextVar[float | None] = ContextVar("calls_end_at", default=None)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """All calls inside take no longer than that together; then they raise StripeAway.

    Without it one call takes up to 40 s, and a page makes several.
    """
    token = _calls_end_at.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _calls_end_at.reset(token)


def seconds_left() -> float | None:
    """What is left of the time limit; None without one."""
    end = _calls_end_at.get()
    return None if end is None else end - time.monotonic()


class LimitedRequests(stripe.RequestsClient):
    """The library's way over HTTP, with the time limit of whoever calls."""

    @property
    def _timeout(self) -> Any:
        return urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS, total=seconds_left())

    @_timeout.setter
    def _timeout(self, value: Any) -> None:
        """The library sets its own."""

    def request(  # type: ignore[override]  # as the library's own
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        left = seconds_left()
        if left is not None and left <= 0:
            raise stripe.APIConnectionError("It takes too long.", should_retry=False)  # type: ignore[no-untyped-call]
        return super().request(method, url, headers, post_data)


@lru_cache(maxsize=4)
def client_for(key: str, base: str) -> stripe.StripeClient:
    """One client for each key and server: it keeps connections open."""
    return stripe.StripeClient(
        key,
        base_addresses={"api": base, "connect": base, "files": base, "meter_events": base}
        if base
        else None,
        max_network_retries=NETWORK_RETRIES,
        http_client=LimitedRequests(),
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
            raise StripeAway(
                f"Stripe answered {status}: {message_of(error)}", status=status
            ) from error
        used_before = isinstance(error, stripe.IdempotencyError)
        refusal = KeyOfAnotherRequest if used_before else StripeRefused
        raise refusal(message_of(error), status=status, code=error.code or "") from error


def message_of(error: stripe.StripeError) -> str:
    """Stripe's message in one short line. Its 401 repeats the end of the key, so that one is replaced."""
    if isinstance(error, stripe.AuthenticationError):
        return "the key is unknown or has expired."
    text = " ".join((error.user_message or type(error).__name__).split())
    return text[:300]
