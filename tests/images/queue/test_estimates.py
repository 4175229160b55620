"""Everybody is told how long it takes, and refused at once what cannot be in time."""

import pytest

from images.catalog import FLUX_SCHNELL
from images.jobs import leases
from images.jobs.refusals import DeadlineImpossible
from images.models import Generation
from images.queue import estimates, signals
from tests.cast import Person
from tests.images import make
from tests.images.make import books


def finish(job: Generation) -> None:
    assert leases.deliver(job, make.stored(job))


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
    estimates.clear_forecasts()


def test_the_place_counts_the_turns_of_the_others(alice: Person, charlie: Person) -> None:
    burst = [make.queued(alice) for _ in range(5)]
    single = make.queued(charlie)
    places = [estimates.position_of(job).position for job in [*burst, single]]
    # One of Charlie's comes after the first of Alice's; it delays her others by one.
    assert places == [1, 3, 4, 5, 6, 2]
    assert estimates.position_of(make.claimed()) is None


def test_the_place_agrees_with_the_order_in_which_jobs_are_claimed(
    alice: Person, charlie: Person, unfunded: Person
) -> None:
    queue = [make.queued(person) for person in (alice, alice, alice, charlie, charlie)]
    expected = sorted(queue, key=lambda job: estimates.position_of(job).position)
    claimed = []
    for _ in queue:
        job = make.claimed()
        claimed.append(job.pk)
        finish(job)
    assert claimed == [job.pk for job in expected]


def test_the_wait_follows_from_place_and_pace(alice: Person) -> None:
    fleet(workers=2, seconds=3.0)
    queue = [make.queued(alice) for _ in range(5)]
    waits = [estimates.position_of(job).wait_seconds for job in queue]
    assert waits == [0, 2, 3, 5, 6]


@pytest.mark.parametrize("seconds", [None, 1.0])
def test_nobody_knows_the_wait_without_a_worker_or_before_the_first_picture(
    alice: Person, seconds: float | None
) -> None:
    if seconds is None:
        fleet(seconds=None)
    place = estimates.position_of(make.queued(alice))
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
    estimates.clear_forecasts()
    with pytest.raises(DeadlineImpossible):
        make.queued(alice)
    # Charlie's turn comes before Alice's second one.
    make.queued(charlie)


def test_jobs_past_their_deadline_delay_nobody(alice: Person, charlie: Person) -> None:
    make.deadline_passed(make.queued(alice))
    assert estimates.position_of(make.queued(charlie)).position == 1
