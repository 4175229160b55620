"""One call, one image: the same key or an automatic retry never draws or charges twice."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from accounts.http.refusals import InvalidRequest
from accounts.limits import rate_limits
from images.jobs import generation, idempotency, leases
from images.jobs.admission import Admitted
from images.jobs.generation_request import IdempotentCall
from images.jobs.refusals import AlreadyAdmitted, IdempotencyKeyReused
from images.models import Generation, Image
from tests.at_once import at_once
from tests.calls import BODY, GENERATIONS, call
from tests.cast import Person
from tests.images import make
from tests.images.make import PRICE, books, state
from tests.working import working

SAME = {"Idempotency-Key": "order 17"}


@pytest.fixture(autouse=True)
def _slow_refill(settings: Any) -> None:
    """A token comes back in a second, so that none does between two looks of a test."""
    settings.REQUESTS_PER_MINUTE = settings.IMAGES_PER_MINUTE = 60


def ask(person: Person, *, key: str | None = None, **body: Any) -> Admitted:
    """The call as the API hands it on."""
    asked: dict[str, Any] = {
        "model": "flux-1-schnell",
        "prompt": "a red fox",
        "size": "512x512",
        "seed": 1,
    } | body
    return make.requested(
        organization=person.organization,
        api_key=person.key,
        call=IdempotentCall(idempotency.digest(asked), key),
        request_id="req_test",
        **asked,
    )


def deliver() -> Generation:
    job = make.claimed()
    assert leases.deliver(job, make.stored(job))
    return job


def test_the_digest_knows_the_body_and_not_the_order_of_its_fields() -> None:
    assert idempotency.digest({"a": 1, "b": [1, 2]}) == idempotency.digest({"b": [1, 2], "a": 1})
    assert idempotency.digest({"a": 1}) != idempotency.digest({"a": True})
    assert idempotency.digest({"a": 1, "user": "x"}) != idempotency.digest({"a": 1})
    assert len(idempotency.digest({"prompt": "\ud800"})) == 64


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x01b"])
def test_a_key_that_cannot_be_kept_is_refused_by_name(key: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        idempotency.read_call({"Idempotency-Key": key}, {})
    assert refused.value.param == "Idempotency-Key"


def test_the_same_key_finds_the_running_job(alice: Person) -> None:
    first = ask(alice, key="k")
    again = ask(alice, key="k")
    assert (first.shared, again.shared) == (False, True)
    assert again.job == first.job
    assert books(alice) == (PRICE, 0)


def test_the_same_key_finds_the_finished_job(alice: Person) -> None:
    first = ask(alice, key="k")
    deliver()
    assert ask(alice, key="k").job == first.job
    assert books(alice) == (0, PRICE)


def test_another_body_under_the_same_key_is_refused(alice: Person) -> None:
    ask(alice, key="k")
    with pytest.raises(IdempotencyKeyReused):
        ask(alice, key="k", prompt="a blue fox")
    assert Generation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_another_body_in_the_moment_of_admission_is_refused_and_costs_no_image_token(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(alice, key="k")
    # As for a call that looked just before the first one was admitted.
    monkeypatch.setattr(idempotency, "find_or_join", lambda _: None)
    with pytest.raises(IdempotencyKeyReused):
        ask(alice, key="k", prompt="a blue fox")
    left = rate_limits.look(organization=alice.organization, api_key=alice.key)
    assert left.images.remaining == first.rate_limit_status.images.remaining
    assert books(alice) == (PRICE, 0)


def test_a_key_belongs_to_its_organization(alice: Person, bob: Person, charlie: Person) -> None:
    first = ask(alice, key="k")
    assert ask(bob, key="k").job == first.job
    assert ask(charlie, key="k").job != first.job


@pytest.mark.parametrize("ended", [Generation.Status.FAILED, Generation.Status.EXPIRED])
def test_what_ended_in_5xx_is_not_remembered(alice: Person, ended: Generation.Status) -> None:
    first = ask(alice, key="k")
    generation.give_up(first.job, ended, "test")
    again = ask(alice, key="k")
    assert not again.shared
    assert again.job != first.job


def test_a_canceled_job_is_remembered(alice: Person) -> None:
    first = ask(alice, key="k")
    assert generation.cancel(first.job)
    assert ask(alice, key="k").job == first.job


def test_a_key_is_free_again_when_its_picture_ends(alice: Person) -> None:
    first = ask(alice, key="k")
    deliver()
    Image.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    again = ask(alice, key="k")
    assert again.job != first.job
    assert not again.shared


def test_sharing_takes_no_image_token_and_one_request_token(alice: Person) -> None:
    first = ask(alice, key="k").rate_limit_status
    again = ask(alice, key="k").rate_limit_status
    assert again.images.remaining == first.images.remaining
    assert again.requests.remaining == first.requests.remaining - 1


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_is_admitted_and_the_others_share_it(alice: Person) -> None:
    answers = at_once(*[lambda: ask(alice, key="k")] * 8)
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert len({answer.job.pk for answer in answers}) == 1
    assert [answer.shared for answer in answers].count(False) == 1
    assert books(alice) == (PRICE, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ["delivered", "expired"])
def test_callers_with_the_key_of_a_job_that_ends_do_not_stand_in_its_way(
    alice: Person, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold the budget and wait for the job; whoever ends it must not hold the job and wait."""
    # As for those who looked just before the job was admitted.
    monkeypatch.setattr(idempotency, "find_or_join", lambda _: None)
    for round_ in range(4):
        ask(alice, key=f"k{round_}")
        job = make.claimed()
        picture = make.stored(job)
        make.deadline_passed(job)
        expired = partial(generation.give_up, job, Generation.Status.EXPIRED, "worker_lost")
        ending = {"delivered": partial(leases.deliver, job, picture), "expired": expired}
        asking = partial(ask, alice, key=f"k{round_}")
        ended, *answers = at_once(ending[end], *[asking] * 8)
        assert ended is True
        # One that looks in vain each time, as all do here, may be told to try again.
        refused = [answer for answer in answers if isinstance(answer, Exception)]
        assert all(isinstance(answer, AlreadyAdmitted) for answer in refused), refused
        assert len(refused) < len(answers)


@pytest.mark.django_db(transaction=True)
def test_the_last_of_the_money_is_shared_too(alice: Person) -> None:
    alice.organization.monthly_cap_micros = PRICE
    alice.organization.save()
    answers = at_once(*[lambda: ask(alice, key="k")] * 6)
    assert len({answer.job.pk for answer in answers}) == 1


@pytest.mark.django_db(transaction=True)
def test_a_replay_is_the_same_answer_to_the_byte(alice: Person) -> None:
    with working():
        one, two = [call("POST", GENERATIONS, BODY, headers=alice.headers | SAME) for _ in "12"]
    assert (one.status_code, two.status_code) == (200, 200)
    assert one.content == two.content
    assert "idempotent-replayed" not in one
    assert two["idempotent-replayed"] == "true"
    assert one["x-ecohash-generation-id"] == two["x-ecohash-generation-id"]
    assert one["x-request-id"] != two["x-request-id"]
    assert books(alice) == (0, PRICE)


@pytest.mark.django_db(transaction=True)
def test_a_replayed_link_is_the_same_link(alice: Person) -> None:
    body = BODY | {"response_format": "url"}
    with working():
        one, two = [call("POST", GENERATIONS, body, headers=alice.headers | SAME) for _ in "12"]
    assert one.content == two.content


@pytest.mark.django_db(transaction=True)
def test_many_calls_with_one_key_get_one_picture(alice: Person) -> None:
    with working():
        answers = at_once(
            *[lambda: call("POST", GENERATIONS, BODY, headers=alice.headers | SAME)] * 6
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert [answer.get("idempotent-replayed") for answer in answers].count("true") == 5
    assert books(alice) == (0, PRICE)


@pytest.mark.django_db(transaction=True)
def test_a_sharers_own_deadline_ends_its_wait_and_not_the_job(alice: Person) -> None:
    body = BODY | {"seed": 1}
    call_ = idempotency.read_call(SAME, body)
    job = ask(alice, key=call_.key).job
    hurry = alice.headers | SAME | {"x-ecohash-deadline-seconds": "1"}
    answer = call("POST", GENERATIONS, body, headers=hurry)
    assert answer.status_code == 503
    assert "still in the queue" in answer.json()["error"]["message"]
    assert state(job)[0] == "queued"


@pytest.mark.django_db(transaction=True)
def test_a_reused_key_is_400_and_never_409(alice: Person) -> None:
    ask(alice, key=idempotency.read_call(SAME, {}).key, prompt="another")
    response = call("POST", GENERATIONS, BODY, headers=alice.headers | SAME)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "idempotency_key_reused"
