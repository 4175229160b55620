"""Hints with a Redis that is away, silent or refuses: nothing is raised, and one caller in two seconds waits for it."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.test import Client

from accounts.limits import circuits, redis_buckets
from images.catalog import FLUX_SCHNELL
from images.queue import signals
from tests import servers
from tests.calls import call
from tests.cast import Person

WORKER = signals.LiveWorker("gpu-1", FLUX_SCHNELL.id, "idle", "blank")
QUESTIONS: list[Callable[[], Any]] = [
    lambda: signals.publish_end("gen_1"),
    lambda: signals.report_step("gen_1", 1, 4),
    lambda: signals.step_of("gen_1"),
    signals.live_workers,
    lambda: signals.heartbeat(WORKER),
    lambda: signals.deregister("gpu-1"),
    lambda: signals.record_periodic_task("images.sweep"),
    signals.seconds_since_periodic_tasks,
]
# What callers wait for; the others have a thread that waits for nothing else.
OF_CALLERS = QUESTIONS[:4]


@pytest.fixture
def use(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A function that sends hints to the Redis at that address."""
    monkeypatch.setattr(circuits, "redis_circuit", circuits.Circuit())

    def uses(address: str) -> None:
        settings.REDIS_URL = address
        signals.client.cache_clear()
        redis_buckets.client.cache_clear()

    yield uses
    signals.client.cache_clear()
    redis_buckets.client.cache_clear()


@pytest.fixture
def silent() -> Iterator[tuple[str, list[socket.socket]]]:
    """The address of one that accepts and never answers, as a frozen one; and who has come."""
    came: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    came.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0", came
        server.shutdown(socket.SHUT_RDWR)
    for one in came:
        one.close()


def test_one_caller_waits_for_a_silent_redis_and_the_others_do_not_ask(
    use: Callable[[str], None], silent: tuple[str, list[socket.socket]]
) -> None:
    address, came = silent
    use(address)
    signals.live_workers()
    first = len(came)
    for _ in range(5):
        for question in OF_CALLERS:
            question()
        signals.notify_workers(FLUX_SCHNELL)
    assert (first, len(came)) == (1, 1)


def test_a_person_who_looks_around_waits_once(
    use: Callable[[str], None], silent: tuple[str, list[socket.socket]], alice: Person
) -> None:
    address, came = silent
    use(address)
    client = Client()
    client.force_login(alice.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    for path in ("/playground", "/dashboard", "/dashboard/keys", "/dashboard/requests", "/"):
        assert client.get(path).status_code == 200
    assert call("GET", "/v1/models", headers=alice.headers).status_code == 200
    assert len(came) == 1


def test_a_redis_that_is_back_is_asked_again(
    use: Callable[[str], None], silent: tuple[str, list[socket.socket]], settings: Any
) -> None:
    well = settings.REDIS_URL
    use(silent[0])
    signals.live_workers()
    use(well)
    signals.heartbeat(WORKER)
    assert signals.live_workers() == []
    circuits.redis_circuit._next_try = 0.0
    assert signals.live_workers() == [WORKER]
    assert signals.live_workers() == [WORKER]


@pytest.mark.parametrize("trouble", ["read-only", "full", "gone"])
def test_nothing_is_raised_whatever_redis_refuses(use: Callable[[str], None], trouble: str) -> None:
    folder = servers.temporary_folder()
    address = servers.start_redis(Path(folder))
    server = redis.Redis.from_url(address)
    use(address)
    signals.heartbeat(WORKER)
    if trouble == "read-only":
        server.replicaof("127.0.0.1", 1)
    elif trouble == "full":
        server.config_set("maxmemory", 1)
    else:
        server.shutdown(nosave=True)
    for question in QUESTIONS:
        circuits.redis_circuit.worked()
        question()


def test_a_broker_that_refuses_costs_a_notification(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(circuits, "redis_circuit", circuits.Circuit())
    server = signals.client()
    server.replicaof("127.0.0.1", 1)
    try:
        signals.notify_workers(FLUX_SCHNELL)
    finally:
        server.replicaof("NO", "ONE")
    assert server.llen(FLUX_SCHNELL.queue) == 0
    circuits.redis_circuit.worked()
    signals.notify_workers(FLUX_SCHNELL)
    assert server.llen(FLUX_SCHNELL.queue) == 1
