"""What a GPU worker does when something goes wrong: the job ends well or costs nothing."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from django.db import OperationalError

from images.catalog import FLUX_SCHNELL, SIZES, Model
from images.jobs import leases
from images.models import Generation
from images.pictures import storage
from images.queue import signals
from inference import pace
from inference.engines.base import Engine, OnStep, OutOfMemory
from inference.engines.blank import BlankDrawing, BlankEngine
from inference.worker import ActiveJob, GpuWorker
from tests.cast import Person
from tests.images import make
from tests.images.make import PRICE, books, state

pytestmark = pytest.mark.django_db(transaction=True)


class TroubledEngine(BlankEngine):
    """Raises the given errors, one for each drawing, before it draws like the blank one."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        super().__init__()
        self.errors = list(errors)
        self.freed = 0

    def draw(
        self, prompt: str, *, width: int, height: int, seed: int, on_step: OnStep | None = None
    ) -> BlankDrawing:
        if self.errors:
            raise self.errors.pop(0)
        return super().draw(prompt, width=width, height=height, seed=seed, on_step=on_step)

    def free_memory(self) -> None:
        self.freed += 1


class Worker(GpuWorker):
    """A worker whose end can be watched: where the process would end, a thread ends here."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine=engine, model=FLUX_SCHNELL)
        self.ended_for: list[str] = []

    def _end_process(self, reason: str, job: Generation | None = None) -> None:  # noqa: ARG002
        self.ended_for.append(reason)
        raise SystemExit(reason)


def test_a_full_device_is_cleared_and_the_picture_drawn_once_more(alice: Person) -> None:
    engine = TroubledEngine([OutOfMemory()])
    job = make.queued(alice)
    Worker(engine).drain_queue()
    assert (state(job), engine.freed) == (("succeeded", 1, "captured"), 1)
    assert books(alice) == (0, PRICE)


def test_a_device_that_stays_full_ends_the_process_and_frees_the_job(alice: Person) -> None:
    job = make.queued(alice)
    worker = Worker(TroubledEngine([OutOfMemory(), OutOfMemory()]))
    with pytest.raises(SystemExit):
        worker.drain_queue()
    assert worker.ended_for == ["out of memory twice"]
    assert state(job) == ("queued", 1, "pending")


def test_a_job_that_breaks_the_engine_fails_after_two_attempts_and_the_next_is_served(
    alice: Person,
) -> None:
    poison, good = make.queued(alice), make.queued(alice)
    worker = Worker(TroubledEngine([RuntimeError("a"), RuntimeError("b")]))
    worker.drain_queue()
    assert state(poison) == ("failed", 2, "released")
    assert state(good) == ("succeeded", 1, "captured")
    assert (books(alice), worker._active_jobs) == ((0, PRICE), [])


def test_a_storage_that_refuses_costs_nothing(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_key: str, _png: bytes) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(storage, "put", refuse)
    job = make.queued(alice)
    worker = Worker(BlankEngine())
    worker.drain_queue()
    worker.drain_queue()
    assert state(job) == ("failed", 2, "released")
    assert (books(alice), worker._active_jobs) == ((0, 0), [])


def test_a_picture_that_comes_too_late_is_removed(alice: Person) -> None:
    job = make.running(alice)
    worker = Worker(BlankEngine())
    drawing = BlankEngine().draw("fox", width=512, height=512, seed=1)
    active_job = ActiveJob(job, drawing_since=None)
    worker._active_jobs.append(active_job)
    Generation.objects.filter(pk=job.pk).update(attempt=2)
    worker._upload(active_job, drawing, job.created_at)
    assert state(job) == ("running", 2, "pending")
    assert not storage.pictures().exists(storage.key_of(job.id, 1))


def test_a_worker_that_is_warm_knows_its_pace() -> None:
    worker = Worker(BlankEngine(seconds=0.05))
    worker.warm()
    told = worker._pace.report()
    assert told["seconds"] >= 0.05
    assert set(told["seconds_by_size"]) == set(SIZES)


def test_warming_times_no_more_sizes_than_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inference.warm_up.FIRST_PACE_SECONDS", 0)
    worker = Worker(BlankEngine())
    worker.warm()
    assert list(worker._pace.report()["seconds_by_size"]) == ["512x512"]


def test_a_slow_picture_is_forgotten_when_none_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(BlankEngine())
    worker.warm()
    usual = worker._pace.report()
    worker._pace.record("512x512", 100.0)
    assert worker._pace.report()["seconds"] > 20
    monkeypatch.setattr(pace, "FRESH_SECONDS", 0)
    assert worker._pace.report() == usual


def test_a_worker_that_stops_claims_nothing_more(alice: Person) -> None:
    worker = Worker(BlankEngine())
    worker.open()
    assert [found.name for found in signals.live_workers()] == [worker.name]
    worker.join()
    job = make.queued(alice)
    worker.drain_queue()
    assert state(job) == ("queued", 0, "pending")
    assert signals.live_workers() == []


def test_the_watchdog_ends_a_process_whose_image_hangs(alice: Person) -> None:
    job = make.running(alice)
    worker = Worker(BlankEngine())
    worker._active_jobs.append(ActiveJob(job, drawing_since=time.monotonic() - 1_000))

    watch(worker)
    assert worker.ended_for == ["image took too long"]


def test_the_watchdog_ends_a_process_whose_work_thread_stands_still(alice: Person) -> None:
    worker = Worker(BlankEngine())
    worker._progress_at = time.monotonic() - 1_000
    watch(worker)
    assert worker.ended_for == ["the work thread stands still"]


@pytest.fixture(autouse=True)
def _quick_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.worker.TICK_SECONDS", 0.05)


def watch(worker: Worker) -> None:
    """Run its watchdog until it ends the process."""

    def ended() -> None:
        with suppress(SystemExit):
            worker._run_watchdog()

    watchdog = threading.Thread(target=ended)
    watchdog.start()
    watchdog.join(10)
    assert not watchdog.is_alive()


@pytest.fixture
def open_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """One that works in threads of its own, as in a Celery process, with short pauses."""
    monkeypatch.setattr(signals, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr("inference.worker.POLL_SECONDS", 0.1)
    worker = Worker(BlankEngine())
    worker.warm()
    worker.open()
    yield worker
    worker.join()
    worker._uploads.pool.shutdown()


def test_an_idle_worker_draws_without_any_notification(alice: Person, open_worker: Worker) -> None:
    """As one whose Celery consumer receives nothing any more."""
    job = make.queued(alice)
    wait_for(lambda: state(job) == ("succeeded", 1, "captured"))


def test_a_notification_returns_when_no_job_is_left(alice: Person, open_worker: Worker) -> None:
    first, second = make.queued(alice), make.queued(alice)
    open_worker.handle_notification()
    assert (state(first)[0], state(second)[0]) == ("succeeded", "succeeded")


def test_a_worker_that_joins_delivers_the_image_that_it_draws(
    alice: Person, open_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    draw = BlankEngine.draw

    def slow(self: BlankEngine, *words: Any, **more: Any) -> BlankDrawing:
        begun.set()
        time.sleep(0.5)
        return draw(self, *words, **more)

    monkeypatch.setattr(BlankEngine, "draw", slow)
    first, second = make.queued(alice), make.queued(alice)
    assert begun.wait(10)
    open_worker.join()
    assert {state(first), state(second)} == {("succeeded", 1, "captured"), ("queued", 0, "pending")}
    open_worker.handle_notification()
    assert {state(first)[0], state(second)[0]} == {"succeeded", "queued"}


def test_no_heartbeat_tells_of_a_work_thread_that_stands_still(
    alice: Person, open_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def stuck(_model: Model) -> bool:
        begun.set()
        return not go_on.wait(30)

    monkeypatch.setattr(leases, "has_queued_jobs", stuck)
    assert begun.wait(10)
    open_worker._progress_at -= 30
    rounds: list[str] = []
    monkeypatch.setattr(open_worker, "_renew", lambda _held: rounds.append("round"))
    monkeypatch.setattr(signals, "heartbeat", lambda _told: rounds.append("beat"))
    wait_for(lambda: len(rounds) > 3)
    assert "beat" not in rounds[1:]
    go_on.set()
    wait_for(lambda: "beat" in rounds)


def test_a_database_that_is_away_costs_a_round(
    alice: Person, open_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = leases.has_queued_jobs
    failed = threading.Event()

    def away(model: Model) -> bool:
        if not failed.is_set():
            failed.set()
            raise OperationalError
        return asked(model)

    monkeypatch.setattr(leases, "has_queued_jobs", away)
    assert failed.wait(10)
    job = make.queued(alice)
    wait_for(lambda: state(job) == ("succeeded", 1, "captured"))


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_heartbeat_thread_renews_the_leases_of_active_jobs(alice: Person) -> None:
    job = make.running(alice)
    make.lease_ran_out(job)
    expired = make.now(job).lease_until
    worker = Worker(BlankEngine())
    worker._renew([ActiveJob(job, drawing_since=None)])
    assert make.now(job).lease_until > expired
