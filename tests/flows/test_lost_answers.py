"""A connection breaks while the answer is on its way: the client's retry gets the image, and one is charged."""

import base64
import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import openai
import pytest
from django.conf import settings

from images.pages.snippets import ApiCall
from tests.crowd import PATH
from tests.cutting_proxy import CuttingProxy, cutting_proxy
from tests.platform import Platform

pytestmark = pytest.mark.flows

ALL_BUT_ONE = -1
PLACES = [0, 1_000, 100_000, 300_000, ALL_BUT_ONE]


@pytest.fixture(scope="module")
def platform(start_platform: Callable[..., Platform]) -> Platform:
    return start_platform(INFERENCE_ENGINE="blank")


@pytest.fixture(scope="module", params=["buffering", "streaming"])
def proxy(platform: Platform, request: pytest.FixtureRequest) -> Iterator[CuttingProxy]:
    with cutting_proxy(platform.port, buffers=request.param == "buffering") as running:
        yield running


@pytest.fixture(scope="module")
def client(platform: Platform, proxy: CuttingProxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base_url, api_key=platform.api_key, max_retries=2) as opened:
        yield opened


def charged(platform: Platform) -> int:
    """How many images were charged or will be."""
    path = platform.var_dir / "ecohash.sqlite3"
    with closing(sqlite3.connect(path, timeout=20)) as database:
        query = "SELECT count(*) FROM billing_hold WHERE state IN ('captured', 'pending')"
        return int(database.execute(query).fetchone()[0])


def check_generate(
    client: openai.OpenAI, platform: Platform, times: int, proxy: CuttingProxy
) -> None:
    before = charged(platform)
    answer = client.images.generate(model="flux-1-schnell", prompt="a red fox", size="512x512")
    assert proxy.answers_cut == times
    assert base64.b64decode(answer.data[0].b64_json or "").startswith(b"\x89PNG")
    assert charged(platform) == before + 1


# Equal calls without a seed, one after the other: each takes its own image and none of those before.
@pytest.mark.parametrize("at", PLACES)
def test_a_cut_answer_is_charged_once(
    client: openai.OpenAI, platform: Platform, proxy: CuttingProxy, at: int
) -> None:
    proxy.cut(at=at)
    check_generate(client, platform, 1, proxy)


@pytest.mark.parametrize(("at", "resets"), [(100_000, True), (ALL_BUT_ONE, False)])
def test_an_answer_cut_twice_is_charged_once(
    client: openai.OpenAI, platform: Platform, proxy: CuttingProxy, at: int, *, resets: bool
) -> None:
    proxy.cut(at=at, times=2, resets=resets)
    check_generate(client, platform, 2, proxy)


def test_an_answer_cut_as_often_as_the_client_tries_is_charged_once(
    client: openai.OpenAI, platform: Platform, proxy: CuttingProxy
) -> None:
    before = charged(platform)
    proxy.cut(at=1_000, times=3)
    with pytest.raises(openai.APIConnectionError):
        client.images.generate(model="flux-1-schnell", prompt="a blue fox", size="512x512")
    assert charged(platform) == before + 1


def test_a_retrier_without_a_mark_repeats_with_a_key_of_its_own(
    platform: Platform, proxy: CuttingProxy
) -> None:
    """With the program that the docs show."""
    before = charged(platform)
    proxy.cut(at=100_000, times=2)
    program = ApiCall(prompt="a red fox", size="512x512").retry_python
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            program.replace(settings.BASE_URL, f"http://127.0.0.1:{proxy.port}"),
        ],
        env=os.environ | {"ECOHASH_API_KEY": platform.api_key},
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.startswith("gen_")
    assert proxy.answers_cut == 2
    assert charged(platform) == before + 1


def test_who_closes_only_the_sending_side_is_answered_or_not_charged(platform: Platform) -> None:
    body = json.dumps({"model": "flux-1-schnell", "prompt": "a red fox", "size": "512x512"})
    head = [
        f"POST {PATH} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {platform.api_key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    for _ in range(3):
        before = charged(platform)
        with socket.create_connection(("127.0.0.1", platform.port), timeout=60) as line:
            line.sendall("\r\n".join([*head, "", body]).encode())
            line.shutdown(socket.SHUT_WR)
            answer = http.client.HTTPResponse(line)
            answer.begin()
            assert answer.read()
        assert answer.status in {200, 499}
        assert charged(platform) - before == (1 if answer.status == 200 else 0)
