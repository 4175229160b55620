"""How a waiter is woken: at once by Redis, a second later by the poller, and never not at all."""

import threading
import time

import pytest

from images.jobs import generation, leases
from images.models import Generation, new_generation_id
from images.queue import signals, waiting
from tests.at_once import at_once
from tests.calls import error_of, generate, verdict
from tests.cast import Person
from tests.images import make

A = new_generation_id()


@pytest.fixture
def waiters() -> waiting.Waiters:
    """A waiting waiters of its own, whose subscriber listens."""
    waiters = waiting.Waiters()
    waiters._start_threads()
    until = time.monotonic() + 5
    while not signals.client().pubsub_numsub(signals.ENDED)[0][1]:
        assert time.monotonic() < until
    return waiters


def test_redis_wakes_a_waiter_at_once(waiters: waiting.Waiters) -> None:
    with waiters.watch(A) as ended:
        started = time.monotonic()
        # Said again and again, since this waiters's subscriber may not be the one that was counted.
        while not ended.wait(0.05):
            signals.publish_end(A)
            assert time.monotonic() - started < 5
    assert time.monotonic() - started < waiting.POLL_SECONDS


def test_another_generations_end_wakes_nobody(waiters: waiting.Waiters) -> None:
    mine, other = new_generation_id(), new_generation_id()
    with waiters.watch(mine) as a, waiters.watch(other) as b:
        while not b.wait(0.05):
            signals.publish_end(other)
        assert not a.is_set()


def test_all_watchers_of_one_generation_are_woken(waiters: waiting.Waiters) -> None:
    with waiters.watch(A) as one, waiters.watch(A) as two:
        waiters.wake(A)
        assert one.is_set()
        assert two.is_set()


def test_nothing_is_kept_of_those_who_left(waiters: waiting.Waiters) -> None:
    with waiters.watch(A), waiters.watch(A):
        assert waiters.watched() == [A]
    assert waiters.watched() == []
    waiters.wake(A)


@pytest.mark.django_db(transaction=True)
def test_a_lost_wake_up_costs_a_second_and_no_answer(alice: Person) -> None:
    job = make.running(alice)
    ended_in: list[float] = []

    def wait() -> str:
        status = generation.wait_until_finished(job).status
        ended_in.append(time.monotonic())
        return status

    def deliver_in_silence() -> float:
        while job.id not in waiting.waiters.watched():
            time.sleep(0.01)
        # What a delivery does to the row, without the announcement that follows it.
        Generation.objects.filter(pk=job.pk).update(
            status="failed", ended_at=job.created_at, lease_until=None
        )
        return time.monotonic()

    status, silence = at_once(wait, deliver_in_silence)
    assert status == "failed"
    assert ended_in[0] - silence < 2 * waiting.POLL_SECONDS + 0.5


@pytest.mark.django_db(transaction=True)
def test_an_end_between_admission_and_watching_is_not_missed(alice: Person) -> None:
    job = make.running(alice)
    leases.deliver(job, make.stored(job))
    started = time.monotonic()
    assert generation.wait_until_finished(job).status == "succeeded"
    assert time.monotonic() - started < waiting.POLL_SECONDS


def test_places_are_limited_and_given_back(db: None, settings) -> None:
    settings.WAITING_LIMIT = 2
    waiters = waiting.Waiters()
    for _ in range(3):
        with (
            waiters.reserve_slot(),
            waiters.reserve_slot(),
            pytest.raises(waiting.QueueFull),
            waiters.reserve_slot(),
        ):
            pass


def test_a_place_is_given_back_when_its_holder_fails(settings) -> None:
    settings.WAITING_LIMIT = 1
    waiters = waiting.Waiters()

    def take_and(result: int) -> float:
        with waiters.reserve_slot():
            return 1 / result

    with pytest.raises(ZeroDivisionError):
        take_and(0)
    assert take_and(1) == 1


def test_a_full_room_is_told_to_the_caller_before_money_is_held(
    alice: Person, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WAITING_LIMIT = 1
    waiters = waiting.Waiters()
    monkeypatch.setattr(waiting, "reserve_slot", waiters.reserve_slot)
    with waiters.reserve_slot():
        response = generate(alice)
    overloaded = (503, "service_unavailable_error", "server_is_overloaded", None)
    assert verdict(response) == overloaded
    assert 1 <= int(response["Retry-After"]) <= 60
    assert "rate limit" not in error_of(response)["message"].lower()
    assert make.books(alice) == (0, 0)
    assert not Generation.objects.exists()


def test_both_threads_are_started_once(waiters: waiting.Waiters) -> None:
    before = threading.active_count()
    for _ in range(3):
        waiters._start_threads()
    assert threading.active_count() == before
