"""Fair shares: nobody's burst takes another's turn."""

from datetime import timedelta

import pytest
from django.utils import timezone

from images.catalog import FLUX_SCHNELL
from images.jobs import leases
from images.models import Generation
from tests.at_once import at_once
from tests.cast import Person
from tests.images import make


def owner(job: Generation) -> int:
    return job.organization_id


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


def test_within_an_organization_the_oldest_job_is_first(alice: Person) -> None:
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


def test_a_turn_is_noted_on_the_clock_of_the_database(alice: Person) -> None:
    make.running(alice)
    served_at = alice.organization.last_served.served_at
    assert abs(served_at - timezone.now()) < timedelta(seconds=5)
