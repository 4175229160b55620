"""A GPU draws nothing for nothing: what has begun when its deadline passes is finished, charged and kept."""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.attacks.beside import Beside
from tests.crowd import PATH, Answer, ask, crowd
from tests.platform import Platform

pytestmark = pytest.mark.attacks

PRICE_MICROS = 10_000
AT_ONCE = 3
# Drawings that a deadline leaves time for and that is never refused, though some stood still before.
PLENTY = 4
ID = "x-ecohash-generation-id"
IDEMPOTENT = {"Idempotency-Key": "order 66"}
RETRY = {"x-stainless-retry-count": "1"}


@pytest.fixture(scope="module")
def platform(slow_platform: Platform) -> Platform:
    return slow_platform


@pytest.fixture
def caller() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool


def within(platform: Platform, seconds: int, headers: Mapping[str, str] | None = None) -> Answer:
    """A call that would wait so long."""
    deadline = {"x-ecohash-deadline-seconds": str(seconds)}
    return ask(platform.port, platform.api_key, headers=deadline | dict(headers or {}))


def some_at_once(platform: Platform, seconds: int) -> list[Answer]:
    return crowd(AT_ONCE, lambda _: within(platform, seconds))


def look(platform: Platform, answer: Answer) -> dict[str, Any]:
    """The job whose id the answer carries."""
    found = ask(platform.port, platform.api_key, method="GET", path=f"{PATH}/{answer.headers[ID]}")
    assert found.status == 200
    job: dict[str, Any] = json.loads(found.body)
    return job


def count(platform: Platform, query: str) -> int:
    """The one number that the query finds, read beside the platform."""
    database = sqlite3.connect(platform.var_dir / "ecohash.sqlite3", timeout=20)
    try:
        return int(database.execute(query).fetchone()[0] or 0)
    finally:
        database.close()


def jobs(platform: Platform) -> int:
    return count(platform, "SELECT count(*) FROM images_generation")


def drawn(platform: Platform) -> int:
    """How often a worker took one up."""
    return count(platform, "SELECT sum(attempt) FROM images_generation")


def charged(platform: Platform) -> int:
    return count(platform, "SELECT count(*) FROM billing_hold WHERE state = 'captured'")


def pending(platform: Platform) -> int:
    return count(platform, "SELECT count(*) FROM billing_hold WHERE state = 'pending'")


def running(platform: Platform) -> int:
    return count(platform, "SELECT count(*) FROM images_generation WHERE status = 'running'")


@contextmanager
def standing_still(platform: Platform) -> Iterator[None]:
    """The GPU worker does nothing inside, and goes on where it was."""
    (pid, *_) = platform.pids("gpu1")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_worker_that_has_just_started_knows_that_a_deadline_is_too_short(
    platform: Platform, drawing_seconds: int
) -> None:
    assert not jobs(platform)
    for seconds in range(1, drawing_seconds + 1):
        refused = within(platform, seconds)
        assert (refused.status, refused.code) == (503, "server_is_overloaded")
        assert b"Nothing was drawn or charged" in refused.body
        assert ID not in refused.headers
    assert not jobs(platform)


def test_whatever_the_deadline_each_image_that_is_drawn_is_charged(
    platform: Platform, drawing_seconds: int, *, full: bool
) -> None:
    calls_of_each = 30 if full else AT_ONCE
    before, charged_before = drawn(platform), charged(platform)
    answers: list[Answer] = []
    for seconds in range(1, drawing_seconds + 2):
        for _ in range(calls_of_each // AT_ONCE):
            answers += some_at_once(platform, seconds)
    platform.wait_for(lambda: not pending(platform), "without work", 60)
    assert drawn(platform) > before
    assert drawn(platform) - before == charged(platform) - charged_before
    assert {answer.status for answer in answers} <= {200, 503}
    told = [answer for answer in answers if ID in answer.headers]
    assert len(told) == charged(platform) - charged_before
    for answer in told:
        assert look(platform, answer)["status"] == "succeeded"


def test_what_still_waits_at_its_deadline_is_neither_drawn_nor_charged(
    platform: Platform, drawing_seconds: int
) -> None:
    before = drawn(platform), charged(platform)
    with standing_still(platform):
        expired = within(platform, PLENTY * drawing_seconds)
    assert expired.status == 503
    assert b"Nothing was charged" in expired.body
    assert ID not in expired.headers
    assert not pending(platform)
    assert within(platform, 30).status == 200
    assert (drawn(platform), charged(platform)) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize(
    ("first", "again"),
    [({}, {}), (IDEMPOTENT, IDEMPOTENT), ({}, RETRY)],
    ids=["id", "key", "retry"],
)
def test_what_had_begun_at_its_deadline_is_charged_once_and_can_be_had(
    platform: Platform,
    caller: ThreadPoolExecutor,
    drawing_seconds: int,
    first: Mapping[str, str],
    again: Mapping[str, str],
) -> None:
    before = charged(platform)
    call: Future[Answer] = caller.submit(within, platform, PLENTY * drawing_seconds, first)
    platform.wait_for(lambda: running(platform), "drawing")
    with standing_still(platform):
        late = call.result()
        assert (late.status, late.code) == (503, "server_is_overloaded")
        assert 1 <= int(late.headers["retry-after"]) <= 60
        assert b"will be charged when it is delivered" in late.body
        assert look(platform, late)["status"] == "running"
        assert charged(platform) == before
    if again:
        found = within(platform, 30, again)
        assert (found.status, found.headers[ID]) == (200, late.headers[ID])
    platform.wait_for(lambda: look(platform, late)["status"] == "succeeded", "delivered")
    job = look(platform, late)
    assert job["cost_micros"] == PRICE_MICROS
    assert job["data"][0]["url"]
    assert charged(platform) == before + 1


def test_a_key_that_is_revoked_while_its_image_is_drawn_still_gets_it(
    platform: Platform, beside: Beside, caller: ThreadPoolExecutor
) -> None:
    """The call was complete before and is charged, so it is answered; the key asks for nothing more."""
    owner = beside("new_owner")
    call = caller.submit(ask, platform.port, owner["secret"])
    platform.wait_for(lambda: running(platform), "drawing")
    beside("revoke", key=owner["key"])
    answer = call.result()
    assert answer.status == 200
    path = f"{PATH}/{answer.headers[ID]}"
    assert ask(platform.port, owner["secret"], method="GET", path=path).status == 401
    assert beside("books", organization=owner["organization"])[3] == [0, PRICE_MICROS]
