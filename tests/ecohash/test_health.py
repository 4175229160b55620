"""Is it alive, and is it ready."""

import pytest

from ecohash import health
from images import hints, storage
from images.catalog import FLUX_SCHNELL
from tests.calls import call


def test_healthy_is_a_process_with_its_database(db: None) -> None:
    response = call("GET", "/healthz")
    assert (response.status_code, response.json()) == (200, {"ok": True})


def test_health_needs_no_sign_in_and_sets_no_cookie(db: None) -> None:
    for path in ("/healthz", "/readyz"):
        assert not call("GET", path).cookies


def test_not_ready_without_a_warm_worker(db: None) -> None:
    response = call("GET", "/readyz")
    checks = {"database": True, "redis": True, "storage": True, "worker": False}
    assert (response.status_code, response.json()) == (503, {"ready": False, "checks": checks})


def test_ready_once_a_worker_beats(db: None) -> None:
    hints.beat(hints.Worker("gpu-1", FLUX_SCHNELL.id, "idle", "blank"))
    response = call("GET", "/readyz")
    assert (response.status_code, response.json()["ready"]) == (200, True)


def test_a_worker_that_signed_off_no_longer_counts(db: None) -> None:
    hints.beat(hints.Worker("gpu-1", FLUX_SCHNELL.id, "idle", "blank"))
    hints.sign_off("gpu-1")
    assert call("GET", "/readyz").status_code == 503


def test_a_storage_that_takes_nothing_is_named(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(storage, "put", full)
    assert call("GET", "/readyz").json()["checks"]["storage"] is False


def test_a_redis_that_is_away_is_named_and_breaks_nothing(
    db: None, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    hints.client.cache_clear()
    try:
        response = call("GET", "/readyz")
    finally:
        hints.client.cache_clear()
    assert response.status_code == 503
    assert response.json()["checks"] | {"worker": False} == {
        "database": True,
        "redis": False,
        "storage": True,
        "worker": False,
    }


def test_every_check_is_asked(db: None) -> None:
    assert set(call("GET", "/readyz").json()["checks"]) == set(health.CHECKS)
