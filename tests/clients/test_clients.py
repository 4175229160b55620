"""Clients of others, as they are: each generates an image with the settings of its row in docs/clients.md."""

import json
import subprocess
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients import installed
from tests.clients.conftest import ALIASES, ClientKey
from tests.clients.litellm_proxy import litellm_proxy

pytestmark = pytest.mark.clients

PNG = b"\x89PNG\r\n\x1a\n"
Terms = dict[str, Any]
LINKS: Terms = {"prefers_links": True}
NAMES: Terms = {"model_aliases": dict.fromkeys(ALIASES, "flux-1-schnell")}
SIZES: Terms = {"nearest_size": True}
PRICES = {"512x512": 10_000, "1024x1024": 20_000, "1024x768": 18_000}

# (environment, program, settings of the key, the size that is generated)
PYTHON: list[tuple[str, str, Terms, str]] = [
    ("openai-oldest", "openai_oldest", {}, "512x512"),
    ("openai-newest", "openai_python", {}, "512x512"),
    ("litellm", "litellm_sdk", {}, "512x512"),
    ("litellm", "litellm_sdk", LINKS, "512x512"),
    ("langchain", "langchain", LINKS, "1024x1024"),
    ("llamaindex", "llamaindex", NAMES | SIZES, "1024x768"),
    ("semantic-kernel", "semantic_kernel", {}, "1024x1024"),
    ("haystack", "haystack", SIZES, "1024x768"),
    ("pydantic-ai", "pydantic_ai", {}, "1024x1024"),
    ("agno", "agno", NAMES | LINKS, "1024x1024"),
    ("crewai", "crewai", LINKS | SIZES, "1024x768"),
    ("griptape", "griptape", NAMES | SIZES, "1024x768"),
    ("camel", "camel", NAMES | SIZES, "1024x768"),
]
# (program, its environment, settings of the key, the size that is generated)
NODE: list[tuple[str, dict[str, str], Terms, str]] = [
    ("openai_node", {}, {}, "512x512"),
    ("ai_sdk", {"PROVIDER": "openai"}, {}, "512x512"),
    ("ai_sdk", {"PROVIDER": "openai", "MODEL": "gpt-image-1"}, NAMES, "512x512"),
    ("ai_sdk", {"PROVIDER": "compatible"}, {}, "512x512"),
    ("ai_sdk", {"PROVIDER": "compatible"}, LINKS, "512x512"),
    ("langchain", {}, {}, "1024x1024"),
]
# (environment, program, settings that it cannot work with, the size that is generated, what it says instead)
LOST: list[tuple[str, str, Terms, str, str]] = [
    ("langchain", "langchain", {}, "1024x1024", "TypeError"),
    ("agno", "agno", NAMES, "1024x1024", "No images were generated"),
    ("crewai", "crewai", SIZES, "1024x768", '"url": null'),
    ("haystack", "haystack", SIZES | LINKS, "1024x768", '"png": ""'),
    ("pydantic-ai", "pydantic_ai", LINKS, "1024x1024", "UnexpectedModelBehavior"),
]


def ids(rows: list[Any]) -> list[str]:
    """Names of cases: the client, and the settings of its key."""
    return [
        " ".join([row[0], *(row[1].values() if isinstance(row[1], dict) else ()), *row[2]])
        for row in rows
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


@pytest.mark.parametrize(("name", "program", "terms", "size"), PYTHON, ids=ids(PYTHON))
def test_a_python_client_generates_and_is_charged_once(
    make_key: Callable[..., ClientKey], name: str, program: str, terms: Terms, size: str
) -> None:
    key = make_key(**terms)
    assert_image(told_by(installed.run_python(name, program, **key.environment)))
    assert key.spent_micros == PRICES[size]


@pytest.mark.parametrize(("program", "environment", "terms", "size"), NODE, ids=ids(NODE))
def test_a_javascript_client_generates_and_is_charged_once(
    make_key: Callable[..., ClientKey],
    program: str,
    environment: dict[str, str],
    terms: Terms,
    size: str,
) -> None:
    key = make_key(**terms)
    assert_image(told_by(installed.run_node(program, **key.environment, **environment)))
    assert key.spent_micros == PRICES[size]


# What each asks for that a key without settings does not allow.
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


@pytest.mark.parametrize(("name", "program", "terms", "size", "says"), LOST, ids=ids(LOST))
def test_an_image_in_the_form_that_a_client_cannot_read_is_charged_once(
    make_key: Callable[..., ClientKey],
    *,
    name: str,
    program: str,
    terms: Terms,
    size: str,
    says: str,
) -> None:
    key = make_key(**terms)
    done = installed.run_python(name, program, **key.environment)
    said = done.stdout + done.stderr
    assert says in said, said[-3_000:]
    assert key.spent_micros == PRICES[size]


def test_langchain_gets_its_link_by_the_query_alone(make_key: Callable[..., ClientKey]) -> None:
    key = make_key()
    told = told_by(
        installed.run_python("langchain", "langchain", RESPONSE_FORMAT="url", **key.environment)
    )
    assert_image(told)
    assert key.spent_micros == PRICES["1024x1024"]


def test_the_ai_sdk_cannot_read_links_under_a_name_of_gpt_image(
    make_key: Callable[..., ClientKey],
) -> None:
    key = make_key(**NAMES, **LINKS)
    done = installed.run_node("ai_sdk", MODEL="gpt-image-1", **key.environment)
    assert done.returncode and "AI_APICallError" in done.stderr, done.stderr[-3_000:]
    assert key.spent_micros == PRICES["512x512"]


def test_litellm_refuses_a_response_format_itself_before_the_charge(
    make_key: Callable[..., ClientKey],
) -> None:
    key = make_key()
    done = installed.run_python(
        "litellm", "litellm_sdk", RESPONSE_FORMAT="b64_json", **key.environment
    )
    assert "UnsupportedParamsError" in done.stderr, done.stderr[-3_000:]
    assert key.spent_micros == 0


def test_the_proxy_of_litellm_generates_once_and_refuses_a_response_format(
    make_key: Callable[..., ClientKey],
) -> None:
    key = make_key()
    with litellm_proxy(key) as at:
        told = told_by(installed.run_python("openai-newest", "openai_python", **at))
        done = installed.run_python(
            "openai-newest", "openai_python", RESPONSE_FORMAT="b64_json", **at
        )
    assert_image(told)
    assert "Setting `response_format` is not supported" in done.stderr, done.stderr[-3_000:]
    assert key.spent_micros == PRICES["512x512"]
