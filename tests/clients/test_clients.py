"""Clients of others, as they are: each generates an image with the settings of its row in docs/clients.md."""

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests import servers
from tests.clients import installed
from tests.clients.conftest import ALIASES, ClientKey
from tests.platform import Platform

pytestmark = pytest.mark.clients

PNG = b"\x89PNG\r\n\x1a\n"
LINKS = {"prefers_links": True}
NAMES = {"model_aliases": dict.fromkeys(ALIASES, "flux-1-schnell")}
SIZES = {"nearest_size": True}
PRICES = {"512x512": 10_000, "1024x1024": 20_000, "1024x768": 18_000}

# (environment, program, settings of the key, the size that is generated)
PYTHON: list[tuple[str, str, dict[str, Any], str]] = [
    ("openai-oldest", "openai_python", {}, "512x512"),
    ("openai-newest", "openai_python", {}, "512x512"),
    ("litellm", "litellm_sdk", {}, "512x512"),
    ("langchain", "langchain", LINKS, "1024x1024"),
    ("llamaindex", "llamaindex", NAMES | SIZES, "1024x768"),
    ("semantic-kernel", "semantic_kernel", {}, "1024x1024"),
    ("haystack", "haystack", SIZES, "1024x768"),
    ("pydantic-ai", "pydantic_ai", {}, "1024x1024"),
    ("agno", "agno", NAMES | LINKS, "1024x1024"),
    ("crewai", "crewai", NAMES | LINKS, "1024x1024"),
    ("griptape", "griptape", NAMES | SIZES, "1024x768"),
]
NODE: list[tuple[str, dict[str, str], dict[str, Any], str]] = [
    ("openai_node", {}, {}, "512x512"),
    ("ai_sdk", {"PROVIDER": "openai"}, {}, "512x512"),
    ("ai_sdk", {"PROVIDER": "compatible"}, {}, "512x512"),
    ("langchain", {}, NAMES, "1024x1024"),
]


def told_by(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What the program printed last."""
    assert done.returncode == 0, done.stderr[-3_000:]
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def assert_image(told: dict[str, Any]) -> None:
    """The client has the image, or a link that leads to it."""
    if told.get("url"):
        with urllib.request.urlopen(told["url"]) as answer:
            assert answer.read(8) == PNG
    else:
        assert told.get("png") == PNG.hex(), told


@pytest.mark.parametrize(
    ("name", "program", "terms", "size"), PYTHON, ids=[row[0] for row in PYTHON]
)
def test_a_python_client_generates_and_is_charged_once(
    make_key: Callable[..., ClientKey], name: str, program: str, terms: dict[str, Any], size: str
) -> None:
    key = make_key(**terms)
    assert_image(told_by(installed.run_python(name, program, **key.environment)))
    assert key.spent_micros == PRICES[size]


@pytest.mark.parametrize(
    ("program", "environment", "terms", "size"),
    NODE,
    ids=[" ".join([row[0], *row[1].values()]) for row in NODE],
)
def test_a_javascript_client_generates_and_is_charged_once(
    make_key: Callable[..., ClientKey],
    program: str,
    environment: dict[str, str],
    terms: dict[str, Any],
    size: str,
) -> None:
    key = make_key(**terms)
    assert_image(told_by(installed.run_node(program, **key.environment, **environment)))
    assert key.spent_micros == PRICES[size]


# What each asks for that its key does not allow.
NEEDS_SETTINGS = [row for row in PYTHON if "model_aliases" in row[2] or "nearest_size" in row[2]]


@pytest.mark.parametrize(
    ("name", "program"), [row[:2] for row in NEEDS_SETTINGS], ids=[row[0] for row in NEEDS_SETTINGS]
)
def test_without_its_settings_a_client_is_refused_before_the_charge(
    make_key: Callable[..., ClientKey], name: str, program: str
) -> None:
    key = make_key()
    done = installed.run_python(name, program, **key.environment)
    said = done.stdout + done.stderr
    assert "does not exist here" in said or "must be one of" in said, said[-3_000:]
    assert key.spent_micros == 0


def test_the_proxy_of_litellm_generates_and_is_charged_once(
    make_key: Callable[..., ClientKey], blank_platform: Platform
) -> None:
    key = make_key()
    with litellm_proxy(key) as address:
        told = told_by(
            installed.run_python(
                "openai-newest", "openai_python", BASE_URL=f"{address}/v1", API_KEY="sk-any"
            )
        )
    assert_image(told)
    assert key.spent_micros == PRICES["512x512"]


@contextmanager
def litellm_proxy(key: ClientKey) -> Iterator[str]:
    """The address of a LiteLLM proxy in front of our API."""
    port = servers.free_port()
    config = installed.FOLDER / "litellm.json"
    python = installed.python_of("litellm")
    parameters = {
        "model": "openai/flux-1-schnell",
        "api_base": key.environment["BASE_URL"],
        "api_key": key.secret,
    }
    model = {
        "model_name": "flux-1-schnell",
        "litellm_params": parameters,
        "model_info": {"mode": "image_generation"},
    }
    config.write_text(json.dumps({"model_list": [model]}))
    words = [str(python.with_name("litellm")), "--config", str(config), "--port", str(port)]
    with (installed.FOLDER / "litellm.log").open("wb") as log:
        process = subprocess.Popen(
            [*words, "--host", "127.0.0.1"], env=installed.surroundings(), stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}"
    try:
        key.platform.wait_for(lambda: answers(f"{address}/health/liveliness"), "LiteLLM", 90)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
