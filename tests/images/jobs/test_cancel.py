"""DELETE takes back what is queued, and nothing else."""

from typing import Any

import pytest

from images.catalog import FLUX_SCHNELL
from images.jobs import generation, leases
from images.jobs.refusals import refusal_of
from images.models import Generation
from tests.at_once import at_once
from tests.calls import GENERATIONS, call
from tests.cast import Person
from tests.images import make
from tests.images.make import books, state


def delete(person: Person, job: Generation) -> Any:
    return call("DELETE", f"{GENERATIONS}/{job.pk}", headers=person.headers)


def test_a_queued_job_is_canceled_and_costs_nothing(alice: Person) -> None:
    job = make.queued(alice)
    answer = delete(alice, job)
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert answer.json()["error"]["code"] == "generation_canceled"
    assert state(job) == ("canceled", 0, "released")
    assert books(alice) == (0, 0)
    assert leases.claim(model=FLUX_SCHNELL, worker="gpu") is None


def test_what_is_being_drawn_goes_on(alice: Person) -> None:
    job = make.running(alice)
    answer = delete(alice, job)
    assert (answer.status_code, answer.json()["status"]) == (200, "running")
    assert state(job) == ("running", 1, "pending")


def test_what_is_done_stays_done_and_charged(alice: Person) -> None:
    job = make.succeeded(alice)
    answer = delete(alice, job).json()
    assert (answer["status"], answer["cost_micros"]) == ("succeeded", make.PRICE)


def test_canceling_twice_answers_the_same(alice: Person) -> None:
    job = make.queued(alice)
    assert delete(alice, job).json() == delete(alice, job).json()


def test_nobody_cancels_anothers_job(alice: Person, charlie: Person) -> None:
    job = make.queued(alice)
    assert delete(charlie, job).status_code == 404
    assert state(job)[0] == "queued"


def test_a_key_without_the_scope_cancels_nothing(alice: Person) -> None:
    job = make.queued(alice)
    alice.key.may_generate = False
    alice.key.save()
    assert delete(alice, job).status_code == 403
    assert state(job)[0] == "queued"


@pytest.mark.django_db(transaction=True)
def test_who_waits_for_it_is_told(alice: Person) -> None:
    job = make.queued(alice)
    waited, _ = at_once(lambda: generation.wait_until_finished(job), lambda: delete(alice, job))
    refusal = refusal_of(waited)
    assert (refusal.status, refusal.headers) == (400, {"x-should-retry": "false"})


def test_a_queued_job_tells_its_place(alice: Person) -> None:
    make.queued(alice)
    job = make.queued(alice)
    answer = call("GET", f"{GENERATIONS}/{job.pk}", headers=alice.headers).json()
    assert answer["queue"] == {"position": 2, "estimated_wait_seconds": None}
    make.claimed()
    assert "queue" not in delete(alice, job).json()
