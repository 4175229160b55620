"""The worker's half: claimed once, delivered once, tried twice at most, and nothing left behind."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.models import Hold
from images.catalog import FLUX_SCHNELL
from images.jobs import leases
from images.models import Generation, Image
from images.pictures import storage
from images.queue import signals
from tests.at_once import at_once
from tests.cast import Person
from tests.images import make
from tests.images.make import PRICE, books, state

QUEUE = FLUX_SCHNELL.queue
DAY = timedelta(days=1)


def notifications() -> int:
    """How many notifications no worker has taken yet."""
    return signals.client().llen(QUEUE)


@pytest.fixture
def quiet() -> None:
    """No notification is queued, and no worker is known."""
    signals.client().delete(QUEUE, signals.WORKERS)


def worker(name: str, state: str = "idle") -> None:
    signals.heartbeat(
        signals.LiveWorker(name=name, model=FLUX_SCHNELL.id, state=state, fingerprint="blank")
    )


def is_stored(job: Generation, attempt: int) -> bool:
    return storage.pictures().exists(storage.key_of(job.id, attempt))


def test_a_claim_takes_the_oldest_job_under_a_lease(alice: Person) -> None:
    first, _second = make.queued(alice), make.queued(alice)
    job = make.claimed("gpu-7")
    row = make.now(first)
    assert (job.pk, job.attempt, row.attempt) == (first.pk, 1, 1)
    assert (row.status, row.worker) == ("running", "gpu-7")
    seconds = (row.lease_until - timezone.now()).total_seconds()
    assert 15 < seconds <= 20.5


def test_an_empty_queue_gives_nothing(alice: Person) -> None:
    assert leases.claim(model=FLUX_SCHNELL, worker="gpu-1") is None
    make.running(alice)
    assert leases.claim(model=FLUX_SCHNELL, worker="gpu-2") is None


def test_a_job_past_its_deadline_is_not_begun(alice: Person) -> None:
    make.deadline_passed(make.queued(alice), seconds_ago=1)
    assert leases.claim(model=FLUX_SCHNELL, worker="gpu-1") is None


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_each_job_goes_to_one(alice: Person) -> None:
    for _ in range(6):
        make.queued(alice)

    def work(name: str) -> list[str]:
        taken = []
        while job := leases.claim(model=FLUX_SCHNELL, worker=name):
            taken.append(job.id)
        return taken

    hauls = at_once(*[lambda name=f"gpu-{number}": work(name) for number in range(8)])
    taken = [job for haul in hauls for job in haul]
    # On PostgreSQL a worker may skip a row that another one holds for a moment, and look again later.
    taken += work("straggler")
    assert sorted(taken) == sorted(Generation.objects.values_list("pk", flat=True))
    assert set(Generation.objects.values_list("attempt", flat=True)) == {1}


def test_renewing_moves_the_end_of_the_lease(alice: Person) -> None:
    job = make.running(alice)
    make.lease_ran_out(job)
    assert leases.renew(job)
    assert make.now(job).lease_until > timezone.now() + timedelta(seconds=15)
    assert leases.reap() == 0


def test_a_delivery_is_picture_charge_and_end_in_one(alice: Person) -> None:
    job = make.running(alice)
    picture = make.stored(job)
    assert leases.deliver(job, picture)
    assert state(job) == ("succeeded", 1, "captured")
    assert books(alice) == (0, PRICE)
    image = Image.objects.get(pk=job.pk)
    assert image.storage_key == picture.storage_key
    lifetime = image.expires_at - timezone.now()
    assert timedelta(hours=23, minutes=59) < lifetime <= DAY
    assert make.now(job).engine == "blank"


def test_a_delivery_repeated_after_a_broken_commit_says_yes_and_charges_nothing(
    alice: Person,
) -> None:
    job = make.running(alice)
    picture = make.stored(job)
    assert leases.deliver(job, picture)
    assert leases.deliver(job, picture)
    assert books(alice) == (0, PRICE)


@pytest.mark.django_db(transaction=True)
def test_two_deliveries_at_once_charge_once(alice: Person) -> None:
    job = make.running(alice)
    picture = make.stored(job)
    assert at_once(*[lambda: leases.deliver(job, picture)] * 6) == [True] * 6
    assert books(alice) == (0, PRICE)


@pytest.mark.django_db(transaction=True)
def test_money_that_ended_before_its_job_undoes_the_delivery(alice: Person) -> None:
    job = make.running(alice)
    Hold.objects.filter(pk=job.hold_id).update(state="released", ended_at=timezone.now())
    assert not leases.deliver(job, make.stored(job))
    assert make.now(job).status == "running"
    assert not Image.objects.exists()


def test_an_expired_lease_gives_the_job_a_second_attempt(alice: Person, quiet: None) -> None:
    job = make.running(alice)
    make.lease_ran_out(job)
    before = notifications()
    assert leases.reap() == 1
    assert state(job) == ("queued", 1, "pending")
    assert make.now(job).error_code == "worker_lost"
    assert notifications() == before + 1
    second = make.claimed("gpu-2")
    assert (second.pk, second.attempt) == (job.pk, 2)


def test_a_live_lease_is_left_alone(alice: Person) -> None:
    job = make.running(alice)
    assert leases.reap() == 0
    assert state(job) == ("running", 1, "pending")


def test_after_two_attempts_the_job_fails_and_costs_nothing(alice: Person) -> None:
    job = make.running(alice)
    for _ in range(2):
        make.lease_ran_out(job)
        assert leases.reap() == 1
        leases.claim(model=FLUX_SCHNELL, worker="gpu-2")
    assert state(job) == ("failed", 2, "released")
    assert books(alice) == (0, 0)
    assert leases.reap() == 0


def test_a_worker_that_comes_back_cannot_touch_the_second_attempt(alice: Person) -> None:
    first = make.running(alice)
    picture = make.stored(first)
    make.lease_ran_out(first)
    leases.reap()
    second = make.claimed("gpu-2")
    assert not leases.renew(first)
    assert not leases.deliver(first, picture)
    leases.hand_back(first, "engine_failed")
    assert state(second) == ("running", 2, "pending")
    assert leases.deliver(second, make.stored(second))
    assert make.now(second).error_code == ""
    assert books(alice) == (0, PRICE)
    assert is_stored(second, 2)


def test_a_worker_that_comes_back_before_the_reaper_still_delivers(alice: Person) -> None:
    job = make.running(alice)
    make.lease_ran_out(job)
    assert leases.deliver(job, make.stored(job))
    assert leases.reap() == 0
    assert state(job) == ("succeeded", 1, "captured")


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_job_that_was_just_delivered_keeps_its_picture_when_the_reaper_comes_late(
    alice: Person, attempt: int
) -> None:
    """The reaper had read the row before the worker came back and delivered."""
    job = make.running(alice)
    if attempt == 2:
        leases.hand_back(job, "engine_failed")
        job = make.claimed()
    make.lease_ran_out(job)
    as_the_reaper_saw_it = make.now(job)
    assert leases.deliver(job, make.stored(job))
    leases.hand_back(as_the_reaper_saw_it, "worker_lost")
    assert state(job) == ("succeeded", attempt, "captured")
    assert is_stored(job, attempt)


def test_handing_back_removes_what_the_attempt_had_stored(alice: Person) -> None:
    job = make.running(alice)
    make.stored(job)
    leases.hand_back(job, "storage_failed")
    assert state(job) == ("queued", 1, "pending")
    assert not is_stored(job, 1)


@pytest.mark.django_db(transaction=True)
def test_two_reapers_at_once_requeue_a_job_once(alice: Person, quiet: None) -> None:
    job = make.running(alice)
    make.lease_ran_out(job)
    before = notifications()
    at_once(leases.reap, leases.reap, leases.reap)
    assert state(job) == ("queued", 1, "pending")
    assert notifications() == before + 1


def test_the_reaper_ends_what_its_caller_left_behind(alice: Person) -> None:
    job = make.queued(alice)
    make.deadline_passed(job)
    assert leases.reap() == 1
    assert state(job)[::2] == ("expired", "released")
    assert books(alice) == (0, 0)


def test_the_reaper_leaves_what_is_being_drawn_to_its_worker(alice: Person) -> None:
    job = make.running(alice)
    make.deadline_passed(job)
    assert leases.reap() == 0
    assert state(job) == ("running", 1, "pending")


@pytest.mark.parametrize("how", ["lost", "failed"])
def test_an_attempt_that_is_lost_past_the_deadline_is_not_repeated(
    alice: Person, how: str, quiet: None
) -> None:
    job = make.running(alice)
    make.deadline_passed(job)
    before = notifications()
    if how == "lost":
        make.lease_ran_out(job)
        assert leases.reap() == 1
    else:
        leases.hand_back(job, "engine_failed")
    assert state(job) == ("expired", 1, "released")
    assert books(alice) == (0, 0)
    assert notifications() == before


def test_a_lease_is_not_renewed_for_ever(alice: Person) -> None:
    """The worker lives, and its storage never answers: the hold must end all the same."""
    job = make.running(alice)
    began = timezone.now() - leases.LONGEST_ATTEMPT + timedelta(seconds=5)
    Generation.objects.filter(pk=job.pk).update(started_at=began)
    assert leases.renew(job)
    Generation.objects.filter(pk=job.pk).update(started_at=began - timedelta(seconds=10))
    assert not leases.renew(job)


def test_the_reaper_leaves_the_last_word_to_a_caller_who_is_still_there(alice: Person) -> None:
    job = make.queued(alice)
    make.deadline_passed(job, seconds_ago=1)
    assert leases.reap() == 0
    assert state(job) == ("queued", 0, "pending")


def test_a_sweep_rings_once_for_each_idle_worker(alice: Person, quiet: None) -> None:
    for _ in range(3):
        make.queued(alice)
    before = notifications()
    assert leases.sweep() == 0
    worker("gpu-1")
    worker("gpu-2")
    worker("gpu-3", "drawing")
    assert leases.sweep() == 2
    assert notifications() == before + 2


def test_a_sweep_never_rings_more_often_than_there_are_jobs(alice: Person, quiet: None) -> None:
    worker("gpu-1")
    worker("gpu-2")
    assert leases.sweep() == 0
    make.queued(alice)
    assert leases.sweep() == 1


def test_a_purge_removes_old_pictures_and_what_lost_attempts_left(alice: Person) -> None:
    make.queued(alice)
    first = make.claimed()
    make.lease_ran_out(first)
    leases.reap()
    make.stored(first)  # the lost worker's upload, finished after the reaper had looked
    second = make.claimed()
    assert leases.deliver(second, make.stored(second))
    make.ended(second, DAY + timedelta(minutes=1))
    assert leases.purge() == 1
    assert not is_stored(second, 1)
    assert not is_stored(second, 2)
    assert leases.purge() == 0


def test_a_purge_spares_pictures_that_live_and_jobs_that_run(alice: Person) -> None:
    young = make.succeeded(alice)
    make.ended(young, DAY - timedelta(minutes=1))
    make.running(alice)
    assert leases.purge() == 0
    assert is_stored(young, 1)


def test_a_purge_keeps_the_record_of_what_was_charged(alice: Person) -> None:
    job = make.succeeded(alice)
    make.ended(job, 2 * DAY)
    leases.purge()
    assert state(job) == ("succeeded", 1, "captured")
    assert Image.objects.filter(pk=job.pk).exists()
