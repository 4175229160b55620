"""A Celery process that hears nothing ends, and one that only has nothing to do lives on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import current_app
from kombu import Connection
from redis.exceptions import ConnectionError as RedisAway

from ecohash.background import watchdog
from images.catalog import FLUX_SCHNELL
from images.queue import signals
from tests import servers

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """One number that is the time."""
    now = [1_000.0]
    monkeypatch.setattr("ecohash.background.watchdog.time.monotonic", lambda: now[0])
    return now


def after(clock: list[float], seconds: float, dog: watchdog.Watchdog) -> bool:
    """What it finds when it has looked every few seconds for so long."""
    for _ in range(int(seconds // watchdog.LOOK_SECONDS)):
        clock[0] += watchdog.LOOK_SECONDS
        deaf = dog.is_deaf()
    return deaf


def test_messages_that_nobody_takes_are_deafness(clock: list[float]) -> None:
    dog = watchdog.Watchdog(waiting=lambda: True)
    assert not after(clock, watchdog.DEAF_SECONDS, dog)
    assert after(clock, 10, dog)


def test_an_empty_queue_is_rest(clock: list[float]) -> None:
    assert not after(clock, 1_000, watchdog.Watchdog(waiting=lambda: False))


def test_work_in_hand_is_work(clock: list[float]) -> None:
    assert not after(clock, 1_000, watchdog.Watchdog(waiting=lambda: True, busy=lambda: True))


def test_a_broker_that_is_away_says_nothing_about_us(clock: list[float]) -> None:
    def away() -> bool:
        raise RedisAway

    assert not after(clock, 1_000, watchdog.Watchdog(waiting=away))


def test_the_time_of_an_outage_does_not_count(clock: list[float]) -> None:
    """Kombu may wait for a broker inside the question itself."""

    def comes_back() -> bool:
        clock[0] += 600
        return True

    dog = watchdog.Watchdog(waiting=comes_back)
    assert not dog.is_deaf()


def test_whoever_hears_is_not_deaf(clock: list[float]) -> None:
    dog = watchdog.Watchdog(waiting=lambda: True)
    for _ in range(50):
        assert not after(clock, 25, dog)
        dog.heard()


def test_waiting_messages_are_counted_over_all_queues() -> None:
    app = app_here()
    assert watchdog.waiting_messages(app, ["default", "stripe"]) == 0
    for queue in ("default", "default", "stripe"):
        app.send_task("images.sweep", queue=queue)
    assert watchdog.waiting_messages(app, ["nobodys", "default", "stripe"]) == 3


def test_a_redis_that_is_read_only_counts_as_away() -> None:
    server = signals.client()
    server.replicaof("127.0.0.1", 1)
    try:
        dog = watchdog.Watchdog(waiting=lambda: watchdog.waiting_messages(app_here(), []) == 0)
        dog._since = dog._heard_at = -1_000.0
        assert not dog.is_deaf()
    finally:
        server.replicaof("NO", "ONE")
    dog._since = -1_000.0
    assert dog.is_deaf()


def app_here() -> Any:
    """The platform's Celery app."""
    return current_app


def test_an_acknowledgment_that_fails_takes_no_place_in_the_prefetch_window() -> None:
    """Otherwise the consumer asks for no other message once all places are taken."""
    address = servers.start_redis(servers.temporary_folder())
    with Connection(address.replace("unix://", "redis+socket://")) as connection:
        channel: Any = connection.default_channel
        channel.basic_qos(prefetch_count=1)
        queue = connection.SimpleQueue("bells")
        queue.put("ring")
        message = queue.get(timeout=5)
        assert not channel.qos.can_consume()
        redis.Redis.from_url(address).shutdown(nosave=True)
        with pytest.raises(RedisAway):
            message.ack()
        assert channel.qos.can_consume()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts Celery with those words, on this test's Redis."""
    started: list[subprocess.Popen[bytes]] = []

    def starts(*words: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "VAR_DIR": str(tmp_path),
            "INFERENCE_ENGINE": "blank",
            "DJANGO_SETTINGS_MODULE": "ecohash.settings",
        }
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.ecohash.background.deaf", *words],
                cwd=servers.ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        started.append(process)
        return process

    yield starts
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("pool", "queue"), [("solo", FLUX_SCHNELL.queue), ("prefork", "default")])
def test_a_deaf_worker_ends_itself(start: Start, tmp_path: Path, pool: str, queue: str) -> None:
    for _ in range(3):
        current_app.send_task("inference.draw", args=[FLUX_SCHNELL.id], queue=queue)
    words = ["worker", "--pool", pool, "--queues", queue, "--without-gossip", "--without-mingle"]
    process = start(*words, "--concurrency", "1")
    process.wait(60)
    assert '"deaf: ' in (tmp_path / "log").read_text()
    # Whatever it had not heard is still there for the next one.
    assert signals.client().llen(queue) >= 2


def test_a_deaf_beat_ends_itself(start: Start, tmp_path: Path) -> None:
    process = start("beat", "--loglevel", "INFO")
    process.wait(60)
    assert '"deaf: ' in (tmp_path / "log").read_text()
    assert process.returncode in {0, -signal.SIGTERM, watchdog.EXIT_DEAF}
