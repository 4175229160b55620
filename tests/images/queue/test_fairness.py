"""Fair shares: nobody's burst takes another's turn, and everybody is told how long it takes."""

from datetime import timedelta

import pytest
from django.utils import timezone

from images.catalog import FLUX_SCHNELL
from images.jobs import leases
from images.jobs.refusals import DeadlineImpossible
from images.models import Generation
from images.queue import fairness, signals
from tests.at_once import at_once
from tests.cast import Person
from tests.images import make
from tests.images.make import books


def owner(job: Generation) -> int:
    return job.organization_id


def fleet(
    *, workers: int = 1, seconds: float | None = 1.0, by_size: dict[str, float] | None = None
) -> None:
    """So many idle workers that take so long for a picture."""
    for number in range(workers):
        signals.heartbeat(
            signals.LiveWorker(
                name=f"gpu-{number}",
                model=FLUX_SCHNELL.id,
                state="idle",
                fingerprint="blank",
                seconds=seconds,
                seconds_by_size=by_size or {},
            )
        )
    fairness.forget()


def finish(job: Generation) -> None:
    assert leases.deliver(job, make.stored(job))


def test_a_single_job_overtakes_the_rest_of_a_burst(alice: Person, charlie: Person) -> None:
    for _ in range(5):
        make.queued(alice)
    make.queued(charlie)
    served = []
    for _ in range(4):
        job = make.claimed()
        served.append(owner(job))
        finish(job)
    a, c = alice.organization.pk, charlie.organization.pk
    assert served == [a, c, a, a]


def test_who_has_fewer_in_work_comes_first_however_lately_served(
    alice: Person, charlie: Person
) -> None:
    for person in (alice, alice, charlie, charlie):
        make.queued(person)
    first = make.claimed()
    second = make.claimed()
    assert {owner(first), owner(second)} == {alice.organization.pk, charlie.organization.pk}
    # Charlie was served last, but has nothing in work any more.
    finish(second)
    assert owner(make.claimed()) == owner(second)


def test_turns_alternate_on_one_worker(alice: Person, charlie: Person) -> None:
    for person in (alice, alice, alice, charlie, charlie, charlie):
        make.queued(person)
    served = []
    for _ in range(6):
        job = make.claimed()
        served.append(owner(job))
        finish(job)
    a, c = alice.organization.pk, charlie.organization.pk
    assert served == [a, c, a, c, a, c]


def test_within_an_organisation_the_oldest_job_is_first(alice: Person) -> None:
    first, second = make.queued(alice), make.queued(alice)
    assert [make.claimed().pk, make.claimed().pk] == [first.pk, second.pk]


@pytest.mark.django_db(transaction=True)
def test_many_workers_at_once_never_take_the_same_job(alice: Person, charlie: Person) -> None:
    for person in (alice, alice, alice, charlie):
        make.queued(person)
    claims = at_once(*[lambda: leases.claim(model=FLUX_SCHNELL, worker="gpu")] * 6)
    taken = [job.pk for job in claims if job]
    assert not [claim for claim in claims if isinstance(claim, Exception)]
    assert len(set(taken)) == len(taken) >= 3
    while leases.claim(model=FLUX_SCHNELL, worker="gpu"):
        taken.append("late")
    assert len(taken) == 4


def test_the_place_counts_the_turns_of_the_others(alice: Person, charlie: Person) -> None:
    burst = [make.queued(alice) for _ in range(5)]
    single = make.queued(charlie)
    places = [fairness.position_of(job).position for job in [*burst, single]]
    # One of Charlie's comes after the first of Alice's; it delays her others by one.
    assert places == [1, 3, 4, 5, 6, 2]
    assert fairness.position_of(make.claimed()) is None


def test_the_place_agrees_with_the_order_in_which_jobs_are_claimed(
    alice: Person, charlie: Person, unfunded: Person
) -> None:
    queue = [make.queued(person) for person in (alice, alice, alice, charlie, charlie)]
    expected = sorted(queue, key=lambda job: fairness.position_of(job).position)
    claimed = []
    for _ in queue:
        job = make.claimed()
        claimed.append(job.pk)
        finish(job)
    assert claimed == [job.pk for job in expected]


def test_the_wait_follows_from_place_and_pace(alice: Person) -> None:
    fleet(workers=2, seconds=3.0)
    queue = [make.queued(alice) for _ in range(5)]
    waits = [fairness.position_of(job).wait_seconds for job in queue]
    assert waits == [0, 2, 3, 5, 6]


@pytest.mark.parametrize("seconds", [None, 1.0])
def test_nobody_knows_the_wait_without_a_worker_or_before_the_first_picture(
    alice: Person, seconds: float | None
) -> None:
    if seconds is None:
        fleet(seconds=None)
    place = fairness.position_of(make.queued(alice))
    assert (place.position, place.wait_seconds) == (1, None)


def test_a_deadline_that_the_queue_cannot_meet_is_refused_before_anything_is_held(
    alice: Person,
) -> None:
    fleet(seconds=2.0)
    for _ in range(3):
        make.queued(alice)
    held = books(alice)
    with pytest.raises(DeadlineImpossible, match="about 9 seconds") as refused:
        make.queued(alice, deadline_seconds=5)
    assert refused.value.headers == {"Retry-After": "4"}
    assert books(alice) == held
    assert Generation.objects.count() == 3
    make.queued(alice, deadline_seconds=9)


def test_the_size_asked_for_counts_not_the_average(alice: Person) -> None:
    fleet(seconds=4.0, by_size={"512x512": 0.5, "1024x1024": 6.0})
    make.queued(alice, deadline_seconds=2)
    with pytest.raises(DeadlineImpossible):
        make.queued(alice, deadline_seconds=5, size="1024x1024")


def test_a_deadline_leaves_time_for_a_slow_drawing_and_its_delivery(alice: Person) -> None:
    fleet(seconds=2.0)
    for just_above in (2, 2.8):
        with pytest.raises(DeadlineImpossible):
            make.queued(alice, deadline_seconds=just_above)
    make.queued(alice, deadline_seconds=3)


def test_a_hopeless_wait_is_refused_without_a_deadline_of_the_callers_own_too(
    alice: Person, charlie: Person
) -> None:
    fleet(seconds=40.0)
    for _ in range(2):
        make.queued(alice)
    fairness.forget()
    with pytest.raises(DeadlineImpossible):
        make.queued(alice)
    # Charlie's turn comes before Alice's second one.
    make.queued(charlie)


def test_jobs_past_their_deadline_delay_nobody(alice: Person, charlie: Person) -> None:
    make.deadline_passed(make.queued(alice))
    assert fairness.position_of(make.queued(charlie)).position == 1


def test_a_turn_is_noted_on_the_clock_of_the_database(alice: Person) -> None:
    make.running(alice)
    served_at = alice.organization.last_served.served_at
    assert abs(served_at - timezone.now()) < timedelta(seconds=5)
