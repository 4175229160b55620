"""The web tier is reloaded, stopped or killed while callers wait: nothing is lost but their connections."""

import os
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.attacks.conftest import IMAGE_TIMEOUT_SECONDS
from tests.crowd import Answer, ask
from tests.platform import Platform

pytestmark = pytest.mark.attacks

CALLERS = 36
# As in ecohash/gunicorn_conf.py: a stopping worker's callers may wait so long.
GRACE_SECONDS = IMAGE_TIMEOUT_SECONDS + 5
# Longer, so that threads still wait when their process has to end.
DEADLINE_SECONDS = 2 * GRACE_SECONDS
SECONDS_TO_SPARE = 10


@pytest.fixture(scope="module")
def platform(attacked: Platform) -> Platform:
    return attacked


def count(platform: Platform, *statuses: str) -> int:
    books = sqlite3.connect(platform.var_dir / "ecohash.sqlite3", timeout=20)
    try:
        query = "SELECT count(*) FROM images_generation WHERE status = ?"
        return sum(books.execute(query, [status]).fetchone()[0] for status in statuses)
    finally:
        books.close()


def is_whole(platform: Platform) -> bool:
    books = sqlite3.connect(platform.var_dir / "ecohash.sqlite3", timeout=20)
    try:
        return books.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        books.close()


def wait_for_an_image(platform: Platform) -> Answer:
    headers = {"x-ecohash-deadline-seconds": str(DEADLINE_SECONDS)}
    return ask(platform.port, platform.api_key, headers=headers)


def are_alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_web_ends_while_callers_wait(
    platform: Platform, number: signal.Signals, *, full: bool
) -> None:
    if number == signal.SIGTERM and not full:
        pytest.skip("in short, the harder of two that are alike")
    platform.api_key  # noqa: B018 - made while somebody can
    for _ in range(5 if full else 1):
        platform.wait_for(lambda: platform.status("/readyz") == 200, "ready", 60)
        end_web_while_callers_wait(platform, number)


def end_web_while_callers_wait(platform: Platform, number: signal.Signals) -> None:
    master, *workers = platform.pids("web")
    stopped = platform.pids("gpu1")
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(CALLERS) as pool:
            callers = [pool.submit(wait_for_an_image, platform) for _ in range(CALLERS)]
            platform.wait_for(lambda: count(platform, "queued") == CALLERS, "all waiting")
            os.kill(master, number)
            answers = [caller.result() for caller in callers]
        # They were cut off when their process had to end, and none outlived it.
        assert {answer.status for answer in answers} <= {0, 503}
        platform.wait_for(lambda: not are_alive(workers), "ended", SECONDS_TO_SPARE)
        assert max(answer.seconds for answer in answers) < GRACE_SECONDS + SECONDS_TO_SPARE / 2
        platform.wait_for(lambda: platform.status("/healthz") == 200, "back")
        assert is_whole(platform)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    platform.wait_for(lambda: not count(platform, "queued", "running"), "all jobs ended", 60)
    reconciled = platform.manage("reconcile", check=False)
    assert reconciled.returncode == 0, reconciled.stdout
    assert ask(platform.port, platform.api_key).status == 200
