"""The caller's half: admitted, awaited, and ended in one way only, whoever comes first."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.utils import timezone

from billing.ledger.holds import InsufficientQuota
from billing.models import Hold, LedgerEntry
from images.catalog import FLUX_SCHNELL
from images.jobs import generation, leases
from images.jobs.refusals import (
    ContentPolicyViolation,
    GenerationNotFound,
    StillRunning,
    refusal_of,
)
from images.models import Generation, Image
from images.queue import signals
from tests.at_once import at_once
from tests.cast import Person
from tests.images import make
from tests.images.make import PRICE, books, state
from tests.working import working


def test_admission_holds_the_price_and_queues_the_job(alice: Person) -> None:
    job = make.queued(alice, seed=7, deadline_seconds=30)
    row = Generation.objects.get()
    assert (row.pk, row.status, row.attempt, row.seed) == (job.pk, "queued", 0, 7)
    assert (row.api_key, row.user, row.request_id) == (alice.key, None, "req_test")
    assert (row.deadline_at - row.created_at).total_seconds() == 30
    assert books(alice) == (PRICE, 0)


def test_admission_rings_for_a_worker(alice: Person) -> None:
    before = signals.client().llen(FLUX_SCHNELL.queue)
    make.queued(alice)
    assert signals.client().llen(FLUX_SCHNELL.queue) == before + 1


def test_without_a_seed_one_is_drawn_from_the_whole_range(alice: Person) -> None:
    seeds = {make.queued(alice, seed=None).seed for _ in range(8)}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert max(seeds) > 2**24


def test_who_cannot_pay_leaves_no_trace(unfunded: Person) -> None:
    with pytest.raises(InsufficientQuota):
        make.queued(unfunded)
    assert not Generation.objects.exists()
    assert not Hold.objects.exists()


def test_a_refused_prompt_leaves_no_trace(alice: Person) -> None:
    with pytest.raises(ContentPolicyViolation):
        make.queued(alice, prompt="some csam please")
    assert not Generation.objects.exists()
    assert books(alice) == (0, 0)


@pytest.fixture
def break_next_commit(transactional_db: None) -> Iterator[Callable[[], None]]:
    """Arms the connection: its next COMMIT reaches the database, and the answer is lost."""
    wrapper: Any = connections["default"]
    commit = wrapper._commit

    def commit_and_break() -> None:
        del wrapper._commit
        commit()
        raise OperationalError("server closed the connection unexpectedly")

    yield lambda: setattr(wrapper, "_commit", commit_and_break)
    vars(wrapper).pop("_commit", None)


def test_an_admission_whose_commit_gave_no_answer_is_read_back(
    alice: Person, break_next_commit: Callable[[], None]
) -> None:
    break_next_commit()
    job = make.queued(alice)
    assert Generation.objects.get() == job
    assert books(alice) == (PRICE, 0)


def test_a_delivery_whose_commit_gave_no_answer_charges_once(
    alice: Person, break_next_commit: Callable[[], None]
) -> None:
    job = make.running(alice)
    picture = make.stored(job)
    break_next_commit()
    with pytest.raises(OperationalError):
        leases.deliver(job, picture)
    assert leases.deliver(job, picture)
    assert books(alice) == (0, PRICE)
    assert LedgerEntry.objects.filter(hold=job.hold).count() == 1


def test_giving_up_ends_the_job_and_releases_its_money(alice: Person) -> None:
    job = make.queued(alice)
    assert generation.expire(job)
    assert state(job)[::2] == ("expired", "released")
    assert make.now(job).error_code == "deadline_passed"
    assert books(alice) == (0, 0)
    assert not generation.expire(job)


def test_what_was_delivered_cannot_be_given_up(alice: Person) -> None:
    job = make.succeeded(alice)
    assert not generation.expire(job)
    assert state(job) == ("succeeded", 1, "captured")


def test_a_deadline_does_not_end_what_has_begun(alice: Person) -> None:
    job = make.running(alice)
    make.deadline_passed(job)
    assert not generation.expire(job)
    assert state(job) == ("running", 1, "pending")
    assert leases.deliver(job, make.stored(job))
    assert books(alice) == (0, PRICE)


def test_what_was_given_up_cannot_be_delivered(alice: Person) -> None:
    job = make.running(alice)
    make.deadline_passed(job)
    leases.hand_back(job, "engine_failed")
    assert not leases.deliver(job, make.stored(job))
    assert state(job) == ("expired", 1, "released")
    assert not Image.objects.exists()
    assert books(alice) == (0, 0)


def test_an_attempt_gives_up_only_itself(alice: Person) -> None:
    first = make.running(alice)
    make.lease_ran_out(first)
    leases.reap()
    second = make.claimed("gpu-2")
    leases.hand_back(first, "engine_failed")
    assert state(second) == ("running", 2, "pending")
    leases.hand_back(second, "engine_failed")
    assert state(second) == ("failed", 2, "released")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(5))
def test_deadline_against_claim_has_one_winner(alice: Person, _round: int) -> None:
    """Expired and free, or begun and charged: never drawn for nothing."""
    job = make.queued(alice)
    expired, claimed = at_once(
        lambda: generation.expire(make.now(job)),
        lambda: leases.claim(model=FLUX_SCHNELL, worker="gpu-1"),
    )
    assert expired is (claimed is None)
    if claimed:
        assert leases.deliver(claimed, make.stored(claimed))
    end = ("succeeded", 1, "captured") if claimed else ("expired", 0, "released")
    assert state(job) == end
    assert books(alice) == (0, 0 if expired else PRICE)
    assert LedgerEntry.objects.filter(kind="capture").count() == (not expired)


@pytest.mark.django_db(transaction=True)
def test_of_all_who_would_end_a_job_one_does(alice: Person) -> None:
    job = make.running(alice)
    make.lease_ran_out(job)
    make.deadline_passed(job)
    picture = make.stored(job)
    at_once(
        lambda: leases.deliver(job, picture),
        lambda: generation.expire(make.now(job)),
        leases.reap,
        leases.reap,
        lambda: leases.hand_back(job, "engine_failed"),
        lambda: leases.deliver(job, picture),
    )
    # Where the lease was handed back first, the job waits on; its deadline has passed.
    leases.reap()
    status, _, hold = state(job)
    assert (status, hold) in {("succeeded", "captured"), ("expired", "released")}
    assert books(alice) == (0, PRICE * (status == "succeeded"))
    assert Image.objects.count() == (status == "succeeded")


@pytest.mark.django_db(transaction=True)
def test_waiting_ends_with_the_job(alice: Person) -> None:
    with working():
        job = generation.wait_until_finished(make.queued(alice, deadline_seconds=20))
    assert job.status == "succeeded"
    assert job.cost_micros == PRICE
    assert job.image.byte_count > 1_000


@pytest.mark.django_db(transaction=True)
def test_waiting_ends_at_the_deadline_and_nothing_is_charged(alice: Person) -> None:
    # The clock starts with the deadline's: making the job takes a part of its 0.3 s.
    started = time.monotonic()
    job = make.queued(alice, deadline_seconds=0.3)
    ended = generation.wait_until_finished(job)
    assert 0.25 < time.monotonic() - started < 3
    assert (ended.status, ended.error_code) == ("expired", "deadline_passed")
    assert books(alice) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_waiting_ends_at_the_deadline_though_the_image_is_being_drawn(alice: Person) -> None:
    job = make.queued(alice, deadline_seconds=0.5)
    make.claimed()
    assert generation.wait_until_finished(job).status == "running"
    assert timezone.now() >= job.deadline_at
    assert books(alice) == (PRICE, 0)


@pytest.mark.django_db(transaction=True)
def test_who_shares_a_job_waits_beyond_its_deadline_while_it_is_drawn(alice: Person) -> None:
    job = make.queued(alice)
    held = make.claimed()
    make.deadline_passed(job)
    row = make.now(job)
    answered, _ = at_once(
        lambda: generation.wait_until_finished(row, seconds=20),
        lambda: leases.deliver(held, make.stored(held)),
    )
    assert answered.status == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_a_job_that_waits_past_its_deadline_is_ended_by_who_shares_it(alice: Person) -> None:
    job = make.queued(alice)
    make.deadline_passed(job, seconds_ago=0.1)
    assert generation.wait_until_finished(make.now(job), seconds=20).status == "expired"


@pytest.mark.django_db(transaction=True)
def test_a_delivery_in_the_moment_of_the_deadline_is_answered(alice: Person) -> None:
    """The wait is over, and the row says that the picture came first."""
    job = make.queued(alice, deadline_seconds=5)
    held = make.claimed()
    assert leases.deliver(held, make.stored(held))
    job.deadline_at = timezone.now()
    assert generation.wait_until_finished(job).status == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_a_deadline_that_passes_while_the_database_is_away_does_not_say_that_it_was_free(
    alice: Person,
) -> None:
    job = make.queued(alice)
    make.deadline_passed(job)
    row = make.now(job)

    def away(*_: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with connection.execute_wrapper(away):
        left = generation.wait_until_finished(row)
    assert "will be charged when it is delivered" in str(StillRunning(left))
    assert state(job) == ("queued", 0, "pending")


@pytest.mark.django_db(transaction=True)
def test_several_may_wait_for_the_same_job(alice: Person) -> None:
    job = make.queued(alice, deadline_seconds=20)
    with working():
        ends = at_once(*[lambda: generation.wait_until_finished(job)] * 4)
    assert [end.status for end in ends] == ["succeeded"] * 4


@pytest.mark.django_db(transaction=True)
def test_no_database_connection_is_held_while_waiting(alice: Person) -> None:
    job = make.queued(alice, deadline_seconds=0.2)
    generation._read(job)
    assert connection.connection is None


def test_a_stranger_cannot_find_a_job(alice: Person, charlie: Person) -> None:
    job = make.queued(alice)
    found = generation.find(organization=alice.organization, generation_id=job.id)
    assert found == job
    with pytest.raises(GenerationNotFound):
        generation.find(organization=charlie.organization, generation_id=job.id)


@pytest.mark.parametrize(
    ("status", "http"),
    [("failed", 500), ("canceled", 400), ("expired", 503)],
)
def test_each_end_without_a_picture_has_its_refusal(status: str, http: int) -> None:
    refusal = refusal_of(Generation(status=status))
    assert refusal
    assert refusal.status == http


@pytest.mark.parametrize("status", ["queued", "running", "succeeded"])
def test_the_other_states_have_none(status: str) -> None:
    assert refusal_of(Generation(status=status)) is None
