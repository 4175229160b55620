"""Is it alive, and is it ready: `/healthz` for load balancers, `/readyz` for `make up` and people."""

import logging
from collections.abc import Callable

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, JsonResponse
from redis import RedisError

from images import hints, storage

logger = logging.getLogger(__name__)

PROBE_KEY = "readyz.txt"


def database_answers() -> bool:
    """One round trip to the database."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError) as error:
        logger.warning("database away", extra={"error": type(error).__name__})
        return False
    return True


def redis_answers() -> bool:
    """One round trip to Redis."""
    try:
        return bool(hints.client().ping())
    except RedisError as error:
        logger.warning("redis away", extra={"error": type(error).__name__})
        return False


def storage_takes_pictures() -> bool:
    """Write and look: a full disk or a bucket without rights shows here, not at a customer's picture."""
    try:
        storage.put(PROBE_KEY, b"ready")
        return storage.pictures().exists(PROBE_KEY)
    except Exception as error:  # noqa: BLE001 - each storage has its own kinds; none may break the page
        logger.warning("storage away", extra={"error": type(error).__name__})
        return False


def worker_is_warm() -> bool:
    """At least one GPU worker beats; it does so only once its engine has drawn."""
    return bool(hints.live_workers())


CHECKS: dict[str, Callable[[], bool]] = {
    "database": database_answers,
    "redis": redis_answers,
    "storage": storage_takes_pictures,
    "worker": worker_is_warm,
}


@login_not_required
def healthz(_request: HttpRequest) -> JsonResponse:
    """200 while this process can reach its database, else 503."""
    well = database_answers()
    return JsonResponse({"ok": well}, status=200 if well else 503)


@login_not_required
def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when an image could be drawn now; 503 with the parts that are missing."""
    checks = {name: check() for name, check in CHECKS.items()}
    ready = all(checks.values())
    return JsonResponse({"ready": ready, "checks": checks}, status=200 if ready else 503)
