"""Circuit breakers: whether Redis, or the broker, is asked at all while it fails."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from django.conf import settings
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

# After a failure nobody asks again for so long.
PAUSE_SECONDS = 2


class Circuit:
    """Whether a server is asked at all: after a failure one caller in two seconds tries it for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._away = False
        self._next_try = 0.0

    def allow_request(self) -> bool:
        """Whether this caller may ask; after the pause this caller tries for all."""
        if not self._away:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._next_try:
                return False
            self._next_try = now + PAUSE_SECONDS
            return True

    def failed(self, error: Exception) -> None:
        """The server did not answer; the first time in a row is worth a line in the log."""
        with self._lock:
            first = not self._away
            self._away = True
            self._next_try = time.monotonic() + PAUSE_SECONDS
        if first:
            logger.warning(
                "redis away: each process limits by itself, and bells and wake-ups wait",
                extra={"error": type(error).__name__},
            )

    def worked(self) -> None:
        """The server answered."""
        if not self._away:
            return
        with self._lock:
            back, self._away = self._away, False
        if back:
            logger.info("redis is back")


class CircuitOpen(redis.RedisError):
    """Redis has just failed somebody else in this process, and is not asked again yet."""


@contextmanager
def asking(of: Circuit | None = None) -> Iterator[None]:
    """Around each call to Redis, or to the broker, that someone waits for; its outcome sets the circuit.

    Raises:
        CircuitOpen: nobody should ask now.
    """
    asked = of or redis_circuit
    if not asked.allow_request():
        raise CircuitOpen
    try:
        yield
    except (redis.RedisError, OperationalError, OSError) as error:
        asked.failed(error)
        raise
    asked.worked()


def broker_circuit() -> Circuit:
    """The broker's circuit; Redis and the broker share one where Redis is the broker."""
    other = settings.CELERY_BROKER_URL.startswith(("amqp", "pyamqp"))
    return rabbitmq_circuit if other else redis_circuit


redis_circuit = Circuit()
rabbitmq_circuit = Circuit()
