"""A call whose answer was lost is not charged again: its client's retry gets the image that was made for it."""

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.limits.rate_limits import RateLimitExceeded
from images.api.answers import WatchedAnswer
from images.jobs import generation, idempotency, leases
from images.jobs.admission import Admitted
from images.jobs.generation_request import IdempotentCall
from images.models import Generation
from images.queue.disconnects import ClientConnection
from tests.at_once import at_once
from tests.calls import BODY, GENERATIONS, JSON, call
from tests.cast import Person
from tests.images import make
from tests.images.make import PRICE, books
from tests.working import working


def ask(person: Person, retry: int = 0, **body: Any) -> Admitted:
    """The call as the API hands it on, or its automatic retry of that number."""
    asked: dict[str, Any] = {
        "model": "flux-1-schnell",
        "prompt": "a red fox",
        "size": "512x512",
    } | body
    return make.requested(
        organization=person.organization,
        api_key=person.key,
        call=IdempotentCall(idempotency.digest(asked), None, retry),
        request_id="req_test",
        **asked,
    )


def deliver() -> Generation:
    job = make.claimed()
    assert leases.deliver(job, make.stored(job))
    return job


def long_ago(job: Generation, **times: timedelta) -> None:
    changes = {name: timezone.now() - ago for name, ago in times.items()}
    Generation.objects.filter(pk=job.pk).update(**changes)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        *[("0", 0), ("", 0), ("x", 0), ("-1", 0), ("1.0", 0), ("\u0661", 0), ("00", 0)],
        *[("1", 1), ("002", 2), ("10", 10), ("32768", 32_767), ("9" * 5_000, 32_767)],
    ],
)
def test_a_retry_is_known_by_its_count(text: str, count: int) -> None:
    assert idempotency.read_call({"x-stainless-retry-count": text}, {}).retry_count == count


def test_a_first_try_takes_nothing(alice: Person) -> None:
    assert ask(alice).job != ask(alice).job


def test_a_retry_takes_the_job_that_still_runs(alice: Person) -> None:
    first = ask(alice)
    assert ask(alice, 1).job == first.job
    assert books(alice) == (PRICE, 0)


def test_a_retry_says_that_the_answer_was_lost_whatever_we_believe(alice: Person) -> None:
    first = ask(alice)
    deliver()
    again = ask(alice, 1)
    assert (again.job, again.shared) == (first.job, True)
    assert books(alice) == (0, PRICE)


@pytest.mark.parametrize("counts", [(1, 2), (1, 2, 3), (2, 3), (1, 5, 6), (32_766, 32_767)])
def test_each_later_retry_of_a_call_takes_the_same_job(
    alice: Person, counts: tuple[int, ...]
) -> None:
    first = ask(alice).job
    deliver()
    assert {ask(alice, count).job for count in counts} == {first}
    assert books(alice) == (0, PRICE)


def test_retries_of_calls_at_once_take_a_job_each(alice: Person) -> None:
    older, newer = ask(alice).job, ask(alice).job
    taken = [ask(alice, 1).job for _ in range(3)]
    assert taken[:2] == [newer, older]
    assert taken[2] not in {older, newer}


@pytest.mark.django_db(transaction=True)
def test_retries_in_one_moment_take_a_job_each(alice: Person) -> None:
    jobs = {ask(alice).job.pk for _ in range(4)}
    assert {each.job.pk for each in at_once(*[lambda: ask(alice, 1)] * 4)} == jobs


def test_a_second_retry_takes_the_job_of_the_first_and_not_anothers(alice: Person) -> None:
    """Else the other call, whose first retry comes next, would find none that it may take."""
    ours = ask(alice).job
    deliver()
    assert ask(alice, 1).job == ours
    theirs = ask(alice).job
    assert ask(alice, 2).job == ours
    assert ask(alice, 1).job == theirs


def test_a_job_that_a_retry_has_made_is_no_other_calls(alice: Person) -> None:
    """Its first try was refused."""
    made = ask(alice, 1).job
    assert ask(alice, 1).job != made
    assert {ask(alice, 2).job, ask(alice, 2).job} >= {made}


def test_a_lost_answer_is_before_one_that_is_awaited_and_that_before_one_that_went_out(
    alice: Person,
) -> None:
    answered = ask(alice).job
    deliver()
    lost = ask(alice).job
    deliver()
    idempotency.note_lost_answer(lost)
    oldest, newest = ask(alice).job, ask(alice).job
    assert [ask(alice, 1).job for _ in range(4)] == [lost, newest, oldest, answered]


def test_an_answer_that_went_out_is_offered_for_two_minutes(alice: Person) -> None:
    first = ask(alice).job
    deliver()
    long_ago(first, ended_at=timedelta(seconds=115))
    assert ask(alice, 1).job == first
    # Two minutes more from when it was taken.
    long_ago(first, ended_at=timedelta(minutes=4), joined_at=timedelta(seconds=115))
    assert ask(alice, 2).job == first
    long_ago(first, ended_at=timedelta(minutes=4), joined_at=timedelta(minutes=3))
    assert ask(alice, 3).job != first


def test_an_answer_that_was_seen_to_break_off_is_offered_for_ten(alice: Person) -> None:
    first = ask(alice).job
    deliver()
    idempotency.note_lost_answer(first)
    long_ago(first, ended_at=timedelta(minutes=9), created_at=timedelta(minutes=9))
    assert ask(alice, 1).job == first
    long_ago(first, created_at=timedelta(minutes=11))
    assert ask(alice, 2).job != first


def test_what_another_call_has_taken_is_not_lost_by_the_one_before(alice: Person) -> None:
    """A proxy keeps the first call's connection; its answer fails after the retry was answered."""
    first = ask(alice).job
    again = ask(alice, 1).job
    idempotency.note_lost_answer(first)
    assert make.now(again).answer_lost_at is None
    idempotency.note_lost_answer(again)
    assert make.now(again).answer_lost_at


def test_a_retry_that_a_proxy_sends_again_takes_the_job_that_it_lost(alice: Person) -> None:
    first = ask(alice).job
    again = ask(alice, 1).job
    idempotency.note_lost_answer(again)
    assert ask(alice, 1).job == first
    assert ask(alice, 1).job != first


def test_a_retry_that_is_refused_leaves_the_job_to_the_next(alice: Person) -> None:
    first = ask(alice).job
    alice.key.requests_per_minute = 1
    alice.key.save()
    ask(alice, prompt="takes the token")
    for count in (1, 1, 2):
        with pytest.raises(RateLimitExceeded):
            ask(alice, count)
    alice.key.requests_per_minute = None
    alice.key.save()
    assert ask(alice, 2).job == first
    assert ask(alice, 3).job == first


@pytest.mark.parametrize("ended", ["canceled", "failed", "expired"])
def test_a_job_without_an_image_is_not_taken(alice: Person, ended: str) -> None:
    first = ask(alice)
    generation.give_up(first.job, Generation.Status(ended), "test")
    assert ask(alice, 1).job != first.job


def test_a_retry_takes_only_of_its_own_key_and_body(alice: Person, bob: Person) -> None:
    first = ask(alice).job
    assert ask(bob, 1).job != first
    assert ask(alice, 1, prompt="a blue fox").job != first
    make.requested(
        organization=alice.organization,
        api_key=alice.key,
        call=IdempotentCall("digest", "a key"),
        request_id="req_test",
        **BODY,
    )
    assert not idempotency.offered(alice.key, IdempotentCall("digest", None, 1)).exists()


def posted(person: Person, **headers: str) -> tuple[Iterator[bytes], Any]:
    """(the chunks, the answer) of a call, as a server sees them."""
    environ = (
        RequestFactory()
        .post(GENERATIONS, json.dumps(BODY), content_type=JSON, headers=person.headers | headers)
        .environ
    )
    answer: Any = WSGIHandler()(environ, lambda *_: None)
    return iter(answer), answer


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_read", [True, False])
def test_the_answer_is_watched_and_an_answer_that_went_out_costs_no_statement(
    alice: Person, *, is_read: bool
) -> None:
    with working():
        chunks, answer = posted(alice)
        first = answer["x-ecohash-generation-id"]
        with CaptureQueriesContext(connection) as seen:
            if is_read:
                assert len(b"".join(chunks)) > 1_000
            answer.close()
        assert len(seen) == (0 if is_read else 1)
        lost = Generation.objects.filter(pk=first, answer_lost_at__isnull=False)
        assert lost.exists() is not is_read
        again = call(
            "POST", GENERATIONS, BODY, headers=alice.headers | {"x-stainless-retry-count": "1"}
        )
    assert again["x-ecohash-generation-id"] == first
    assert again["idempotent-replayed"] == "true"
    assert books(alice) == (0, PRICE)


@pytest.mark.django_db(transaction=True)
def test_a_call_writes_in_its_admission_and_nowhere_else(alice: Person) -> None:
    with working():
        for _ in range(2):
            with CaptureQueriesContext(connection) as seen:
                chunks, answer = posted(alice)
                assert b"".join(chunks)
                answer.close()
    statements = [query["sql"].split()[0] for query in seen.captured_queries]
    assert statements.count("COMMIT") == 1
    end = statements.index("COMMIT") + 1
    # PostgreSQL shows where a transaction begins, and SQLite does not.
    assert len(statements[:end]) - statements.count("BEGIN") <= 14, statements
    # How often the row is read depends on what wakes the wait.
    assert set(statements[end:]) == {"SELECT"}


@pytest.mark.django_db(transaction=True)
def test_a_deadline_that_passes_while_the_job_runs_leaves_its_answer_to_a_retry(
    alice: Person,
) -> None:
    hurry = {"x-ecohash-deadline-seconds": "1"}
    digest = idempotency.digest(BODY)
    job = make.requested(
        organization=alice.organization,
        api_key=alice.key,
        call=IdempotentCall(digest, None),
        request_id="req_test",
        **BODY,
    ).job
    make.claimed()
    late = call(
        "POST",
        GENERATIONS,
        BODY,
        headers=alice.headers | hurry | {"x-stainless-retry-count": "1"},
    )
    assert late.status_code == 503
    assert late["x-ecohash-generation-id"] == job.pk
    assert make.now(job).answer_lost_at


@pytest.mark.parametrize(
    ("peer", "is_read", "is_lost"),
    [
        ("stays", True, False),
        ("stays", False, True),
        ("sends no more", True, True),
        ("has gone", True, True),
    ],
)
def test_an_answer_is_lost_where_it_broke_off_or_began_too_late(
    peer: str, *, is_read: bool, is_lost: bool
) -> None:
    ours, theirs = socket.socketpair()
    lost: list[str] = []
    with ours, theirs:
        answer = WatchedAnswer(
            b"image", client=ClientConnection(ours), on_lost=partial(lost.append, "lost")
        )
        if peer == "sends no more":
            theirs.shutdown(socket.SHUT_WR)
        elif peer == "has gone":
            theirs.close()
        if is_read:
            assert b"".join(answer) == b"image"
        answer.close()
        answer.close()
    assert lost == (["lost"] if is_lost else [])
