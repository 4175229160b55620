"""Pictures on their way to a store that stalls, refuses, and comes back."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from images.catalog import FLUX_SCHNELL
from images.jobs import leases
from images.models import Generation
from images.pictures import storage
from inference import uploads
from inference.engines.blank import BlankEngine
from inference.uploads import UPLOADS_AT_ONCE
from inference.worker import GpuWorker
from tests.calls import BODY, GENERATIONS, call, error_of
from tests.cast import Person
from tests.images import make
from tests.images.make import PRICE, books, state
from tests.object_store import ObjectStoreDouble, configured, use
from tests.working import working

pytestmark = pytest.mark.django_db(transaction=True)

DONE = ("succeeded", 1, "captured")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "STALLED_AFTER_SECONDS", 0.1)
    monkeypatch.setattr("inference.worker.STALLED_AFTER_SECONDS", 0.1)


@pytest.fixture
def patient_store(object_store: ObjectStoreDouble, settings) -> ObjectStoreDouble:
    """A stalled call to it lasts until it is healed, as far as a test is concerned."""
    use(settings, configured(endpoint=object_store.endpoint), timeout_seconds=30)
    return object_store


@pytest.fixture
def open_worker(patient_store: ObjectStoreDouble) -> Iterator[GpuWorker]:
    worker = GpuWorker(engine=BlankEngine(), model=FLUX_SCHNELL)
    worker.open()
    yield worker
    patient_store.heal()
    worker.join()
    worker._uploads.pool.shutdown()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def drain() -> None:
    worker = GpuWorker(engine=BlankEngine(), model=FLUX_SCHNELL)
    worker.drain_queue()
    worker._uploads.pool.shutdown()


def test_a_stalled_upload_holds_no_image_of_another_customer(
    alice: Person, charlie: Person, patient_store: ObjectStoreDouble, open_worker: GpuWorker
) -> None:
    patient_store.fault("PUT", "stall", times=1)
    held = make.queued(alice)
    assert patient_store.stalled.wait(20)
    served = [make.queued(charlie) for _ in range(3)]
    wait_for(lambda: [state(job) for job in served] == [DONE] * 3)
    assert state(held)[0] == "running"
    patient_store.heal()
    wait_for(lambda: state(held) == DONE)
    assert (books(alice), books(charlie)) == ((0, PRICE), (0, 3 * PRICE))


def test_celerys_thread_is_let_go_while_an_upload_stalls(
    alice: Person, patient_store: ObjectStoreDouble, open_worker: GpuWorker
) -> None:
    patient_store.fault("PUT", "stall", times=1)
    make.queued(alice)
    assert patient_store.stalled.wait(20)
    begun = time.monotonic()
    open_worker.handle_notification()
    assert time.monotonic() - begun < 15
    assert open_worker._stuck_seconds([]) < 5


def test_no_more_pictures_wait_in_memory_than_may(
    alice: Person, patient_store: ObjectStoreDouble, open_worker: GpuWorker
) -> None:
    patient_store.fault("PUT", "stall")
    jobs = [make.queued(alice) for _ in range(UPLOADS_AT_ONCE + 3)]
    wait_for(lambda: len(patient_store.asked("PUT")) >= UPLOADS_AT_ONCE)
    running = Generation.objects.filter(status="running")
    wait_for(lambda: running.count() == UPLOADS_AT_ONCE + 1)
    time.sleep(0.5)
    assert len(patient_store.asked("PUT")) == UPLOADS_AT_ONCE
    assert running.count() == UPLOADS_AT_ONCE + 1
    patient_store.heal()
    wait_for(lambda: [state(job) for job in jobs] == [DONE] * len(jobs))


@pytest.mark.parametrize("kind", ["403", "500", "drop"])
def test_a_store_that_fails_for_a_moment_costs_no_attempt(
    alice: Person, object_store: ObjectStoreDouble, kind: str
) -> None:
    object_store.fault("PUT", kind, times=1)
    job = make.queued(alice)
    drain()
    assert state(job) == DONE
    assert books(alice) == (0, PRICE)


@pytest.mark.parametrize("kind", ["403", "501", "stall"])
def test_a_store_that_takes_nothing_costs_nothing_and_is_named(
    alice: Person, object_store: ObjectStoreDouble, kind: str
) -> None:
    object_store.fault("PUT", kind)
    with working():
        response = call("POST", GENERATIONS, BODY, headers=alice.headers)
    assert response.status_code == 500
    message = error_of(response)["message"]
    assert message == (
        "The image was generated but could not be stored. Nothing was charged. Please try again."
    )
    assert "x-ecohash-generation-id" not in response
    job = Generation.objects.get()
    assert (state(job), job.error_code) == (("failed", 2, "released"), "storage_failed")
    assert books(alice) == (0, 0)


def test_a_worker_that_stops_tries_no_second_time(object_store: ObjectStoreDouble) -> None:
    object_store.fault("PUT", "403")
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(OSError):
        uploads.store("a.png", b"png", stopping=stopping)
    assert len(object_store.asked("PUT")) == 1


def test_a_removal_that_stalls_keeps_no_job_from_its_second_attempt(
    alice: Person, patient_store: ObjectStoreDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "REMOVAL_SECONDS", 0.1)
    patient_store.fault("DELETE", "stall")
    job = make.running(alice)
    make.lease_ran_out(job)
    assert leases.reap() == 1
    assert state(job) == ("queued", 1, "pending")
    assert patient_store.stalled.wait(10)


@pytest.mark.parametrize("kind", ["403", "stall"])
def test_a_purge_goes_on_after_what_it_cannot_remove_and_tries_it_again(
    alice: Person, object_store: ObjectStoreDouble, kind: str
) -> None:
    jobs = [make.succeeded(alice) for _ in range(3)]
    for job in jobs:
        make.ended(job, timedelta(days=2))
    object_store.fault("DELETE", kind, times=2 if kind == "stall" else 1)
    assert leases.purge() == 2
    assert len(object_store.objects) == 1
    object_store.heal()
    assert leases.purge() == 1
    assert object_store.objects == {}
