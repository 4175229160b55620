"""Is it alive, and is it ready."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.test import override_settings

from ecohash.background import beat_schedule
from ecohash.web import health
from images.catalog import FLUX_SCHNELL
from images.pictures import storage
from images.queue import signals
from tests.calls import call

NOTHING_RUNS = {
    "database": True,
    "redis": True,
    "storage": True,
    "worker": False,
    "chores": False,
    "stripe_chores": False,
}


def all_work() -> None:
    """What every worker of the platform says while it works."""
    signals.heartbeat(signals.LiveWorker("gpu-1", FLUX_SCHNELL.id, "idle", "blank"))
    for name in beat_schedule.DEFAULT_WORKER_TASKS + beat_schedule.STRIPE_WORKER_TASKS:
        signals.record_periodic_task(name)


def checks() -> dict[str, bool]:
    """What `/readyz` says about each part, asked anew."""
    health.forget()
    found: dict[str, bool] = call("GET", "/readyz").json()["checks"]
    return found


def test_healthy_is_a_process_with_its_database(db: None) -> None:
    response = call("GET", "/healthz")
    assert (response.status_code, response.json()) == (200, {"ok": True})


def test_health_needs_no_sign_in_and_sets_no_cookie(db: None) -> None:
    for path in ("/healthz", "/readyz"):
        assert not call("GET", path).cookies


def test_not_ready_without_anybody_who_works(db: None) -> None:
    response = call("GET", "/readyz")
    expected = {"ready": False, "checks": NOTHING_RUNS}
    assert (response.status_code, response.json()) == (503, expected)


def test_ready_once_all_work(db: None) -> None:
    all_work()
    response = call("GET", "/readyz")
    assert (response.status_code, response.json()["ready"]) == (200, True)


def test_a_worker_that_signed_off_no_longer_counts(db: None) -> None:
    all_work()
    signals.deregister("gpu-1")
    assert [name for name, well in checks().items() if not well] == ["worker"]


@pytest.mark.parametrize("late", beat_schedule.DEFAULT_WORKER_TASKS)
def test_a_periodic_task_that_has_not_run_lately_is_named(db: None, late: str) -> None:
    all_work()
    assert checks()["chores"]
    redis = signals.client()
    redis.hset(signals.PERIODIC_TASKS, late, str(int(time.time()) - beat_schedule.LATE_SECONDS - 1))
    assert [name for name, well in checks().items() if not well] == ["chores"]
    redis.hdel(signals.PERIODIC_TASKS, late)
    assert [name for name, well in checks().items() if not well] == ["chores"]


def test_a_stripe_worker_that_does_nothing_is_named(db: None) -> None:
    all_work()
    signals.client().hdel(signals.PERIODIC_TASKS, *beat_schedule.STRIPE_WORKER_TASKS)
    assert [name for name, well in checks().items() if not well] == ["stripe_chores"]


def test_no_stripe_worker_is_missing_where_stripe_is_not_used(db: None, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    assert checks()["stripe_chores"] is True


def test_every_task_that_readyz_asks_for_is_in_the_schedule(settings: Any) -> None:
    run = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert {*beat_schedule.DEFAULT_WORKER_TASKS, *beat_schedule.STRIPE_WORKER_TASKS} <= run


def test_a_storage_that_takes_nothing_is_named(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(storage, "put", full)
    assert checks()["storage"] is False


def test_a_storage_that_takes_five_bytes_and_no_picture_is_named(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = FileSystemStorage.save

    def nearly_full(self: FileSystemStorage, name: str, content: Any, **more: Any) -> str:
        if content.size > 100_000:
            raise OSError("no space left on device")
        return save(self, name, content, **more)

    monkeypatch.setattr(FileSystemStorage, "save", nearly_full)
    assert checks()["storage"] is False


def test_a_storage_that_gives_back_something_else_is_named(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "get", lambda _key: b"ready")
    assert checks()["storage"] is False


def test_the_storage_keeps_nothing_of_it(db: None) -> None:
    assert checks()["storage"] is True
    assert storage.pictures().listdir("readyz")[1] == []


def test_a_redis_that_is_away_is_named_and_breaks_nothing(
    db: None, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    signals.client.cache_clear()
    try:
        response = call("GET", "/readyz")
    finally:
        signals.client.cache_clear()
    assert response.status_code == 503
    assert response.json()["checks"] == NOTHING_RUNS | {"redis": False}


def test_every_check_is_asked(db: None) -> None:
    assert set(call("GET", "/readyz").json()["checks"]) == set(health.CHECKS)


def test_a_crowd_of_callers_asks_each_part_once() -> None:
    asked: list[int] = []

    def ask() -> bool:
        asked.append(1)
        return True

    check = health.Check(ask)
    with ThreadPoolExecutor(max_workers=20) as callers:
        found = list(callers.map(lambda _: check.result(check.begin()), range(200)))
    assert (set(found), len(asked)) == ({True}, 1)


def test_an_answer_is_asked_for_again_when_it_is_old() -> None:
    said = [True, False]
    check = health.Check(lambda: said.pop(0), fresh_seconds=0, fresh_after_failure_seconds=60)
    assert check.result(check.begin()) is True
    wait = threading.Event()
    wait.wait(0.01)
    assert check.result(check.begin()) is False
    assert check.result(check.begin()) is False
    assert said == []


def test_a_part_that_hangs_is_missing_in_time_and_is_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.2)
    go_on = threading.Event()
    asked: list[int] = []

    def hang() -> bool:
        asked.append(1)
        return go_on.wait(30)

    check = health.Check(hang)
    found = [check.result(check.begin()) for _ in range(3)]
    assert (found, len(asked)) == ([False] * 3, 1)
    go_on.set()
    answered = check.begin()
    assert answered.wait(10)
    assert check.result(answered) is True


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("host", ["10.42.8.201:8000", "somebody.example", "[fd00::1]:8000"])
def test_a_load_balancer_may_ask_by_any_name(db: None, path: str, host: str) -> None:
    all_work()
    with override_settings(ALLOWED_HOSTS=["ecohash.example"], SECURE_SSL_REDIRECT=True):
        assert call("GET", path, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/login", "/healthz/", "/v1/models"])
def test_no_other_address_answers_an_unknown_host(db: None, path: str) -> None:
    with override_settings(ALLOWED_HOSTS=["ecohash.example"]):
        assert call("GET", path, headers={"Host": "somebody.example"}).status_code == 400


def test_only_a_look_is_answered_to_an_unknown_host(db: None) -> None:
    response = call("POST", "/healthz", headers={"Host": "somebody.example"})
    assert response.status_code == 400
