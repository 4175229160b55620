"""Liveness and readiness: `/healthz` for load balancers, `/readyz` for `make up` and people.

Anybody may ask both as often as they like, and a part may hang: so each process checks a part at most
once in some seconds, in a thread of its own, and no caller waits for it longer than `PATIENCE_SECONDS`.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, JsonResponse

from billing.gateway import client as gateway
from ecohash.background import beat_schedule
from ecohash.configuration import instance
from images.pictures import storage
from images.queue import signals

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 4.0
FRESH_SECONDS = 2.0
# A picture of 1024x1024 is about this big; each round writes, reads and removes one.
PROBE_BYTES = 1_500_000
STORAGE_FRESH_SECONDS = 60.0
STORAGE_FRESH_AFTER_FAILURE_SECONDS = 5.0


class Check:
    """One part of the platform and its last result."""

    def __init__(
        self,
        ask: Callable[[], bool],
        *,
        fresh_seconds: float = FRESH_SECONDS,
        fresh_after_failure_seconds: float = FRESH_SECONDS,
    ) -> None:
        self._ask = ask
        self._fresh_seconds = fresh_seconds
        self._fresh_after_failure_seconds = fresh_after_failure_seconds
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Drop the last result, so that the next caller checks again."""
        with self._lock:
            self._answered = threading.Event()
            self._asked_at = 0.0
            self._well = False
            self._old = True

    def begin(self) -> threading.Event:
        """Start a check in a thread, unless a result is fresh or on its way; returns its event."""
        with self._lock:
            asking = self._asked_at and not self._answered.is_set()
            fresh = self._fresh_seconds if self._well else self._fresh_after_failure_seconds
            if not asking and (self._old or time.monotonic() - self._asked_at > fresh):
                self._old = False
                self._asked_at = time.monotonic()
                self._answered = threading.Event()
                threading.Thread(target=self._run, args=[self._answered], daemon=True).start()
            return self._answered

    def result(self, answered: threading.Event) -> bool:
        """The result; False if there is none in time. A part that hangs delays only its first callers."""
        until = self._asked_at + PATIENCE_SECONDS
        return answered.wait(max(0.0, until - time.monotonic())) and self._well

    def _run(self, answered: threading.Event) -> None:
        try:
            well = self._ask()
        except Exception as error:  # noqa: BLE001 - each part fails in its own ways; none may break the page
            logger.warning(
                "a part is away", extra={"part": self._ask.__name__, **storage.describe(error)}
            )
            well = False
        finally:
            connection.close()
        with self._lock:
            if answered is self._answered:
                self._well = well
        answered.set()


def database_answers() -> bool:
    """One round trip to the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return True


def redis_answers() -> bool:
    """One round trip to Redis."""
    return bool(signals.client().ping())


def storage_takes_pictures() -> bool:
    """Write, read and remove a file of an image's size, which finds a full disk or missing rights."""
    key = f"readyz/{socket.gethostname()}-{os.getpid()}.png"
    # Random, because a file system may store zeros without any space.
    picture = os.urandom(PROBE_BYTES)
    try:
        storage.put(key, picture)
        return storage.get(key) == picture
    finally:
        storage.remove(key)


def worker_is_warm() -> bool:
    """At least one GPU worker sends heartbeats, which begin once its engine has generated an image."""
    return bool(signals.live_workers())


def periodic_tasks_run() -> bool:
    """Sweep and reap have run lately: beat and the default worker are there and work."""
    ran = signals.seconds_since_periodic_tasks()
    never = beat_schedule.LATE_SECONDS + 1
    return all(
        ran.get(name, never) < beat_schedule.LATE_SECONDS
        for name in beat_schedule.DEFAULT_WORKER_TASKS
    )


def stripe_tasks_run() -> bool:
    """The Stripe worker has finished a task lately, or Stripe is not configured."""
    if not gateway.is_configured():
        return True
    ran = signals.seconds_since_periodic_tasks()
    never = beat_schedule.LATE_AT_STRIPE_SECONDS + 1
    return any(
        ran.get(name, never) < beat_schedule.LATE_AT_STRIPE_SECONDS
        for name in beat_schedule.STRIPE_WORKER_TASKS
    )


CHECKS: dict[str, Check] = {
    "database": Check(database_answers),
    "redis": Check(redis_answers),
    "storage": Check(
        storage_takes_pictures,
        fresh_seconds=STORAGE_FRESH_SECONDS,
        fresh_after_failure_seconds=STORAGE_FRESH_AFTER_FAILURE_SECONDS,
    ),
    "worker": Check(worker_is_warm),
    "chores": Check(periodic_tasks_run),
    "stripe_chores": Check(stripe_tasks_run),
}


def forget() -> None:
    """Drop all results."""
    for check in CHECKS.values():
        check.forget()


def answers(*names: str) -> dict[str, bool]:
    """Results by name, within `PATIENCE_SECONDS`; the checks run in parallel."""
    begun = {name: CHECKS[name].begin() for name in names}
    return {name: CHECKS[name].result(event) for name, event in begun.items()}


@login_not_required
def healthz(_request: HttpRequest) -> JsonResponse:
    """200 while this process can reach its database, else 503."""
    well = answers("database")["database"]
    return JsonResponse({"ok": well}, status=200 if well else 503)


@login_not_required
def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when an image could be drawn now and the periodic tasks run; 503 with the parts that are missing."""
    checks = answers(*CHECKS)
    ready = all(checks.values())
    return JsonResponse(
        {"ready": ready, "checks": checks},
        status=200 if ready else 503,
        headers={instance.HEADER: instance.instance_id()},
    )
