"""How a web thread waits for its job: one subscriber and one poller a process, one event for each thread.

Redis wakes within a millisecond; the poller asks the database for all waiting ids once a second, so
that a lost wake-up costs a second and never an answer.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection

from accounts.http.refusals import Refusal
from accounts.limits.buckets import retry_after
from images.models import Generation
from images.queue import estimates, signals

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
UNKNOWN_WAIT_SECONDS = 5.0


class QueueFull(Refusal):
    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"

    def __init__(self) -> None:
        seconds = estimates.longest_wait()
        queue = "" if seconds is None else f" The queue is about {math.ceil(seconds)} seconds long."
        super().__init__(
            f"Too many requests are waiting for an image right now.{queue} Nothing was charged. "
            "Please try again later."
        )
        self.headers = {"Retry-After": str(retry_after(seconds or UNKNOWN_WAIT_SECONDS))}


class Waiters:
    """The threads of this process that wait for a generation."""

    def __init__(self) -> None:
        self._events: dict[str, set[threading.Event]] = {}
        self._lock = threading.Lock()
        self._threads_of_process = 0
        self._slots = threading.BoundedSemaphore(settings.WAITING_LIMIT)

    @contextmanager
    def reserve_slot(self) -> Iterator[None]:
        """Count one more waiting caller while inside; done before anything is reserved for it.

        Raises:
            QueueFull: as many wait as this process can hold.
        """
        if not self._slots.acquire(blocking=False):
            raise QueueFull
        try:
            yield
        finally:
            self._slots.release()

    @contextmanager
    def watch(self, generation_id: str) -> Iterator[threading.Event]:
        """An event that is set when the generation ends. Look at the row once after entering."""
        self._start_threads()
        event = threading.Event()
        with self._lock:
            self._events.setdefault(generation_id, set()).add(event)
        try:
            yield event
        finally:
            with self._lock:
                events = self._events[generation_id]
                events.discard(event)
                if not events:
                    del self._events[generation_id]

    def wake(self, generation_id: str) -> None:
        """Set the events of whoever watches this generation here."""
        with self._lock:
            for event in self._events.get(generation_id, ()):
                event.set()

    def watched(self) -> list[str]:
        """The ids that someone waits for now."""
        with self._lock:
            return list(self._events)

    def _start_threads(self) -> None:
        """Start both threads once a process; after a fork the child has none and starts its own."""
        if self._threads_of_process == os.getpid():
            return
        with self._lock:
            if self._threads_of_process == os.getpid():
                return
            self._threads_of_process = os.getpid()
            for target in (self._subscribe, self._poll):
                threading.Thread(target=target, name=target.__name__, daemon=True).start()

    def _subscribe(self) -> None:
        while True:
            try:
                for generation_id in signals.ended():
                    self.wake(generation_id)
            except Exception as error:  # noqa: BLE001 - without this thread every answer is a poll later
                logger.warning("no wake-ups, polling", extra={"error": type(error).__name__})
                time.sleep(POLL_SECONDS)

    def _poll(self) -> None:
        while True:
            time.sleep(POLL_SECONDS)
            if ids := self.watched():
                try:
                    self.wake_finished(ids)
                except Exception as error:  # noqa: BLE001 - the last thread to wake a waiter must live
                    logger.warning("poll failed", extra={"error": type(error).__name__})
                finally:
                    connection.close()

    def wake_finished(self, ids: list[str]) -> None:
        """Wake the watchers of those that have ended, found by one query."""
        for generation_id in (
            Generation.objects.finished().filter(pk__in=ids).values_list("pk", flat=True)
        ):
            self.wake(generation_id)


waiters = Waiters()
reserve_slot = waiters.reserve_slot
watch = waiters.watch
