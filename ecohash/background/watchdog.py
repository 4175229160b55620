"""Ends a Celery process that hears or sends nothing although its broker answers; the supervisor starts it again.

Seen with Celery 5.7 and kombu 5.7 on Redis: a consumer that had lost its prefetch window to failed
acknowledgments (celery.py mends that) heard nothing for minutes. Whatever the cause is, the sign is the
same: messages lie in the queue, nothing is in flight, and nothing is received.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from amqp import AMQPError
from celery import Celery
from kombu.exceptions import ChannelError, KombuError
from redis import RedisError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5
# Longer than the pause of a consumer that connects again after an outage.
DEAF_SECONDS = 35
EXIT_DEAF = 71


class Watchdog:
    """Of one process: `heard` is called whenever it did its work, `look` every few seconds.

    `waiting` asks the broker whether there is something to do, and raises where it does not answer;
    `busy` says whether something is in flight.
    """

    def __init__(
        self, *, waiting: Callable[[], bool], busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._waiting = waiting
        self._busy = busy
        self._heard_at = self._since = time.monotonic()

    def heard(self, **_kwargs: Any) -> None:
        """Record that the process did its work."""
        self._heard_at = time.monotonic()

    def is_deaf(self) -> bool:
        """Whether there was something to do all the time, and nothing was done."""
        asked_at = time.monotonic()
        try:
            waits = not self._busy() and self._waiting()
        except (RedisError, KombuError, AMQPError, OSError):
            waits = False
        now = time.monotonic()
        if not waits or now - asked_at > LOOK_SECONDS:
            self._since = now
        return now - max(self._since, self._heard_at) > DEAF_SECONDS

    def start(self, end: Callable[[], None]) -> None:
        """Look every few seconds in a thread of its own, and call `end` once the process is deaf."""

        def watch() -> None:
            while not self.is_deaf():
                time.sleep(LOOK_SECONDS)
            logger.critical("deaf: nothing heard or sent, although the broker answers")
            end()

        threading.Thread(target=watch, name="watchdog", daemon=True).start()


def waiting_messages(app: Celery, queues: list[str]) -> int:
    """How many messages lie in these queues; raises the broker's errors."""
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        if connection.transport.driver_type == "redis":
            # A Redis that is read-only answers, and lets nobody take a message.
            channel.client.set("ecohash:watchdog", "1", ex=60)
        found = 0
        for name in queues:
            try:
                found += channel.queue_declare(name, passive=True).message_count
            except ChannelError:
                # On Redis an empty queue does not exist.
                channel = connection.channel()
        return found


def end_process(grace_seconds: float) -> None:
    """Send SIGTERM to this process, and exit at once after the grace period."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_seconds)
    logging.shutdown()
    os._exit(EXIT_DEAF)
