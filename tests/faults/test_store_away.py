"""The object store stalls, refuses, trickles and is gone: answers come in time, and are true about money."""

import base64
import json
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.object_store import BUCKET, ObjectStoreDouble
from tests.platform import Platform

pytestmark = pytest.mark.faults

LIMIT_SECONDS = 4
# Two attempts, each with a second try, on a machine that has other work too.
ANSWER_SECONDS = 60
USUAL_SECONDS = 20
BODY = {"model": "flux-1-schnell", "prompt": "a red fox", "size": "512x512"}


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStoreDouble]:
    with ObjectStoreDouble() as double:
        yield double


@pytest.fixture(scope="module")
def platform(start_platform: Callable[..., Platform], store: ObjectStoreDouble) -> Platform:
    return start_platform(
        INFERENCE_ENGINE="blank",
        WEB_CONCURRENCY="1",
        S3_BUCKET=BUCKET,
        AWS_S3_ENDPOINT_URL=store.endpoint,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        STORAGE_TIMEOUT_SECONDS=str(LIMIT_SECONDS),
    )


@pytest.fixture(autouse=True)
def _well_at_the_end(store: ObjectStoreDouble) -> Iterator[None]:
    yield
    store.heal()
    if not store.is_open():
        store.open()


@dataclass
class Told:
    """An answer, and after how many seconds it came."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]
    seconds: float

    @property
    def message(self) -> str:
        return str(self.body["error"]["message"])


def ask(platform: Platform, key: str, path: str = "", body: dict[str, str] | None = None) -> Told:
    begun = time.monotonic()
    request = urllib.request.Request(
        f"{platform.base_url}/v1/images/generations{path}",
        None if path else json.dumps(BODY | (body or {})).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        answer = urllib.request.urlopen(request, timeout=100)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        told = json.loads(answer.read())
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Told(answer.status, headers, told, time.monotonic() - begun)


def captured(platform: Platform) -> int:
    books = sqlite3.connect(platform.var_dir / "ecohash.sqlite3", timeout=20)
    try:
        query = "SELECT count(*) FROM billing_hold WHERE state = 'captured'"
        return int(books.execute(query).fetchone()[0])
    finally:
        books.close()


def test_a_stalled_upload_holds_no_second_customer(
    platform: Platform, store: ObjectStoreDouble
) -> None:
    other = platform.manage("create_account", "other@example.com", "--no-limits", "--json")
    second = json.loads(other.stdout)["api_key"]
    charges = captured(platform)
    store.fault("PUT", "stall", times=1)
    with ThreadPoolExecutor(1) as callers:
        held = callers.submit(ask, platform, platform.api_key)
        assert store.stalled.wait(USUAL_SECONDS)
        served = ask(platform, second)
        assert (served.status, served.seconds < USUAL_SECONDS) == (200, True)
        # Its own image is stored by the next try, without being drawn again.
        assert held.result().status == 200
    assert captured(platform) - charges == 2


@pytest.mark.parametrize("kind", ["403", "stall"])
def test_a_store_that_takes_nothing_costs_nothing(
    platform: Platform, store: ObjectStoreDouble, kind: str
) -> None:
    charges = captured(platform)
    store.fault("PUT", kind)
    told = ask(platform, platform.api_key)
    assert (told.status, told.seconds < ANSWER_SECONDS) == (500, True)
    assert "could not be stored" in told.message
    assert "x-ecohash-generation-id" not in told.headers
    assert captured(platform) == charges


@pytest.mark.parametrize("kind", ["403", "stall", "stall_half", "trickle"])
def test_a_store_that_gives_nothing_is_told_with_the_charge(
    platform: Platform, store: ObjectStoreDouble, kind: str
) -> None:
    charges = captured(platform)
    store.fault("GET", kind)
    told = ask(platform, platform.api_key)
    assert (told.status, told.seconds < USUAL_SECONDS) == (503, True)
    assert "was generated and charged" in told.message
    assert captured(platform) - charges == 1
    store.heal()
    by_id = ask(platform, platform.api_key, f"/{told.headers['x-ecohash-generation-id']}")
    assert base64.b64decode(by_id.body["data"][0]["b64_json"]).startswith(b"\x89PNG")
    assert captured(platform) - charges == 1


def test_a_store_that_was_gone_is_used_again(platform: Platform, store: ObjectStoreDouble) -> None:
    charges = captured(platform)
    store.close()
    platform.wait_for(lambda: platform.status("/readyz") == 503, "the storage is missed", 90)
    told = ask(platform, platform.api_key)
    assert (told.status, told.seconds < ANSWER_SECONDS) == (500, True)
    store.open()
    platform.wait_for(lambda: platform.status("/readyz") == 200, "ready again", 30)
    assert ask(platform, platform.api_key).status == 200
    assert captured(platform) - charges == 1


def test_the_books_are_right(platform: Platform) -> None:
    reconciled = platform.manage("reconcile", check=False)
    assert reconciled.returncode == 0, reconciled.stdout
