"""openai-node and LiteLLM, whose answers are cut off, directly and behind a proxy that buffers: one charge each."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from tests.clients import installed
from tests.clients.conftest import ClientKey
from tests.clients.litellm_proxy import litellm_proxy
from tests.cutting_proxy import CuttingProxy, cutting_proxy
from tests.platform import Platform

pytestmark = pytest.mark.clients

HERE = installed.PROGRAMS
ALL_BUT_ONE = -1
# After so many bytes of the answer, and so often.
CUTS = pytest.mark.parametrize(
    ("at", "times"), [(0, 1), (1_000, 1), (100_000, 1), (ALL_BUT_ONE, 1), (100_000, 2)]
)
SECONDS = 120
# (the words of its command, what its environment adds)
Program = tuple[list[str], dict[str, str]]


@pytest.fixture(scope="module")
def platform(blank_platform: Platform) -> Platform:
    return blank_platform


@pytest.fixture(scope="module", params=["buffering", "streaming"])
def proxy(platform: Platform, request: pytest.FixtureRequest) -> Iterator[CuttingProxy]:
    with cutting_proxy(platform.port, buffers=request.param == "buffering") as running:
        yield running


@pytest.fixture(scope="module")
def openai_node() -> Program:
    program = str(HERE / "generate_openai.mjs")
    return ["node", program], {"PACKAGES": str(installed.node_folder())}


@pytest.fixture(scope="module")
def litellm() -> Program:
    program = str(HERE / "generate_litellm.py")
    return [str(installed.python_of("litellm")), program], {}


@pytest.fixture(scope="module")
def openai_oldest() -> Program:
    return [str(installed.python_of("openai-oldest")), str(HERE / "use_openai_oldest.py")], {}


def charges_of(
    program: Program,
    platform: Platform,
    proxy: CuttingProxy,
    *,
    tries: int = 1,
    key: str = "",
    **more: str,
) -> tuple[bool, int]:
    """(whether the program got its image, how many were charged or will be)."""
    words, names = program
    before = charged(platform)
    told = {"BASE_URL": proxy.base_url, "API_KEY": platform.api_key, "IDEMPOTENCY_KEY": key}
    environment = installed.surroundings(TRIES=str(tries), **names, **told, **more)
    ran = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    sys.stderr.write(ran.stderr[-2_000:])
    assert proxy.answers_cut == proxy.times, "the program did not come back for more"
    said = json.loads(ran.stdout.splitlines()[-1]) if ran.stdout else {}
    return bool(said.get("image") or said.get("png")), charged(platform) - before


def charged(platform: Platform) -> int:
    path = platform.var_dir / "ecohash.sqlite3"
    with closing(sqlite3.connect(path, timeout=20)) as database:
        query = "SELECT count(*) FROM billing_hold WHERE state IN ('captured', 'pending')"
        return int(database.execute(query).fetchone()[0])


@CUTS
def test_litellm_gets_its_image_and_is_charged_once(
    litellm: Program, platform: Platform, proxy: CuttingProxy, at: int, times: int
) -> None:
    proxy.cut(at=at, times=times)
    assert charges_of(litellm, platform, proxy) == (True, 1)


@pytest.mark.parametrize(("at", "times"), [(0, 1), (500, 1), (0, 2)])
def test_openai_node_cut_in_the_head_gets_its_image_and_is_charged_once(
    openai_node: Program, platform: Platform, proxy: CuttingProxy, at: int, times: int
) -> None:
    proxy.cut(at=at, times=times)
    assert charges_of(openai_node, platform, proxy) == (True, 1)


@CUTS
def test_openai_node_repeated_with_a_key_gets_its_image_and_is_charged_once(
    openai_node: Program, platform: Platform, proxy: CuttingProxy, at: int, times: int
) -> None:
    """It does not retry by itself what breaks off after the head: the program does, with a key."""
    proxy.cut(at=at, times=times)
    key = f"node {at} {times} {proxy.buffers}"
    assert charges_of(openai_node, platform, proxy, tries=3, key=key) == (True, 1)


@pytest.mark.parametrize("at", [100_000, ALL_BUT_ONE])
def test_openai_node_cut_in_the_body_raises_and_is_charged_once(
    openai_node: Program, platform: Platform, proxy: CuttingProxy, at: int
) -> None:
    proxy.cut(at=at)
    assert charges_of(openai_node, platform, proxy) == (False, 1)


def test_a_router_of_litellm_retries_without_a_mark_and_needs_a_key(
    litellm: Program, platform: Platform, proxy: CuttingProxy
) -> None:
    proxy.cut(at=100_000)
    key = f"router {proxy.buffers}"
    assert charges_of(litellm, platform, proxy, key=key, ROUTER="1") == (True, 1)


@pytest.mark.parametrize("at", [0, 100_000])
def test_an_openai_python_that_does_not_count_its_retries_needs_a_key(
    openai_oldest: Program, platform: Platform, proxy: CuttingProxy, at: int
) -> None:
    proxy.cut(at=at)
    key = f"oldest {at} {proxy.buffers}"
    assert charges_of(openai_oldest, platform, proxy, key=key) == (True, 1)


def test_the_proxy_of_litellm_retries_with_a_mark_and_its_callers_need_a_key_in_the_body(
    make_key: Callable[..., ClientKey], platform: Platform
) -> None:
    """It drops the marks of its callers, and their header `Idempotency-Key` too."""
    key = make_key()
    with (
        cutting_proxy(platform.port, buffers=True) as behind,
        litellm_proxy(key, behind.base_url) as at,
        cutting_proxy(urlsplit(at["BASE_URL"]).port or 0, buffers=True) as before,
    ):
        behind.cut(at=100_000)
        assert installed.run_python("openai-newest", "openai_python", **at).returncode == 0
        assert (behind.answers_cut, key.spent_micros) == (1, 10_000)
        before.cut(at=100_000)
        body = {"extra_headers": {"Idempotency-Key": "behind LiteLLM"}}
        at |= {"BASE_URL": before.base_url, "EXTRA_BODY": json.dumps(body)}
        assert installed.run_python("openai-newest", "openai_python", **at).returncode == 0
        assert (before.answers_cut, key.spent_micros) == (1, 20_000)
