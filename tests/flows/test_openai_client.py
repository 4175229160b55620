"""The official OpenAI client, unchanged but for base URL and key, against the running platform."""

import base64
import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import openai
import pytest
from PIL import Image as Pillow

from tests.platform import Platform

pytestmark = pytest.mark.flows

PRICES_MICROS = {
    "512x512": 10_000,
    "768x768": 15_000,
    "1024x768": 18_000,
    "768x1024": 18_000,
    "1024x1024": 20_000,
}
CHARGED = """
from billing.models import LedgerEntry
from django.db.models import Sum
rows = LedgerEntry.objects.filter(kind="capture", organization__name="OpenAI flow")
print(rows.count(), rows.aggregate(sum=Sum("amount_micros"))["sum"] or 0)
"""


def key_of(platform: Platform, email: str, *options: str) -> str:
    made = platform.manage("create_account", email, *options, "--json")
    return json.loads(made.stdout)["api_key"]


OPENED = contextlib.ExitStack()


@pytest.fixture(scope="module", autouse=True)
def _close_clients() -> Iterator[None]:
    """A connection that is left to the garbage collector is a warning, and so an error."""
    with OPENED:
        yield


def client_with(platform: Platform, key: str) -> openai.OpenAI:
    opened = openai.OpenAI(
        base_url=f"{platform.base_url}/v1", api_key=key, max_retries=0, timeout=100
    )
    return OPENED.enter_context(opened)


@pytest.fixture(scope="module")
def client(platform: Platform) -> openai.OpenAI:
    options = ("--organization", "OpenAI flow", "--credit-micros", "1000000")
    return client_with(platform, key_of(platform, "openai@example.com", *options))


def ask(client: openai.OpenAI, **fields: Any) -> Any:
    asked = {"model": "flux-1-schnell", "prompt": "a red fox", "size": "512x512"} | fields
    return client.images.generate(**asked)


def png_of(answer: Any) -> bytes:
    return base64.b64decode(answer.data[0].b64_json, validate=True)


def fetch(url: str) -> tuple[int, str, bytes]:
    """Status, content type and body, as somebody without a key gets them."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


@pytest.mark.parametrize("size", PRICES_MICROS)
def test_each_size_has_exactly_its_pixels_and_its_price(client: openai.OpenAI, size: str) -> None:
    raw = client.images.with_raw_response.generate(
        model="flux-1-schnell", prompt="a red fox", size=size, extra_body={"seed": 1}
    )
    picture = Pillow.open(BytesIO(png_of(raw.parse())))
    picture.load()
    assert (picture.format, "{}x{}".format(*picture.size)) == ("PNG", size)
    assert raw.headers["x-ecohash-cost-micros"] == str(PRICES_MICROS[size])


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(client: openai.OpenAI) -> None:
    one, two, other = [png_of(ask(client, extra_body={"seed": seed})) for seed in (1, 1, 2)]
    assert one == two != other


def test_a_link_works_without_a_key_and_dies_when_it_is_touched(client: openai.OpenAI) -> None:
    url = ask(client, response_format="url").data[0].url
    status, content_type, png = fetch(url)
    assert (status, content_type) == (200, "image/png")
    assert Pillow.open(BytesIO(png)).size == (512, 512)
    last = "a" if url[-1] != "a" else "b"
    status, content_type, body = fetch(url[:-1] + last)
    assert (status, content_type) == (403, "application/json")
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["flux-1-schnell"]
    assert client.models.retrieve("flux-1-schnell").object == "model"


FAULTS: list[tuple[dict[str, Any], type[openai.APIStatusError], str, str | None]] = [
    ({"model": "dall-e-3"}, openai.NotFoundError, "model_not_found", "model"),
    ({"prompt": ""}, openai.BadRequestError, "invalid_value", "prompt"),
    ({"prompt": "a" * 1_001}, openai.BadRequestError, "string_above_max_length", "prompt"),
    ({"size": "256x256"}, openai.BadRequestError, "invalid_value", "size"),
    ({"n": 2}, openai.BadRequestError, "integer_above_max_value", "n"),
    ({"n": 0}, openai.BadRequestError, "integer_below_min_value", "n"),
    ({"extra_body": {"seed": -1}}, openai.BadRequestError, "integer_below_min_value", "seed"),
    ({"extra_body": {"seed": "1"}}, openai.BadRequestError, "invalid_type", "seed"),
    (
        {"extra_body": {"prompt": None}},
        openai.BadRequestError,
        "missing_required_parameter",
        "prompt",
    ),
    ({"output_format": "webp"}, openai.BadRequestError, "unsupported_parameter", "output_format"),
    ({"extra_body": {"stream": True}}, openai.BadRequestError, "unsupported_parameter", "stream"),
    ({"prompt": "csam"}, openai.BadRequestError, "content_policy_violation", None),
]


@pytest.mark.parametrize(("fields", "kind", "code", "param"), FAULTS)
def test_each_error_is_the_right_exception(
    client: openai.OpenAI,
    fields: dict[str, Any],
    kind: type[openai.APIStatusError],
    code: str,
    param: str | None,
) -> None:
    with pytest.raises(kind) as raised:
        ask(client, **fields)
    error = raised.value
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert error.request_id
    assert error.request_id.startswith("req_")


def test_a_wrong_key_is_an_authentication_error(platform: Platform) -> None:
    with pytest.raises(openai.AuthenticationError) as raised:
        ask(client_with(platform, "eco_wrong"))
    assert raised.value.code == "invalid_api_key"


def test_no_credit_is_a_rate_limit_error_that_is_not_retried(platform: Platform) -> None:
    key = key_of(platform, "pauper@example.com", "--credit-micros", "0")
    patient = client_with(platform, key).with_options(max_retries=2)
    with pytest.raises(openai.RateLimitError) as raised:
        ask(patient)
    assert (raised.value.code, raised.value.type) == ("insufficient_quota", "insufficient_quota")
    # The client retries a 429 unless it is told not to, and counts.
    assert raised.value.request.headers["x-stainless-retry-count"] == "0"


def test_an_idempotency_key_brings_the_same_picture_again(client: openai.OpenAI) -> None:
    def call() -> Any:
        return client.images.with_raw_response.generate(
            model="flux-1-schnell",
            prompt="a red fox",
            size="512x512",
            extra_headers={"Idempotency-Key": "order 17"},
        )

    one, two = call(), call()
    assert one.content == two.content
    assert one.headers.get("idempotent-replayed") is None
    assert two.headers["idempotent-replayed"] == "true"
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, prompt="another fox", extra_headers={"Idempotency-Key": "order 17"})
    assert raised.value.code == "idempotency_key_reused"


def test_an_impatient_client_whose_library_retries_pays_once(platform: Platform) -> None:
    options = ("--organization", "Impatient", "--credit-micros", "1000000")
    key = key_of(platform, "impatient@example.com", *options)
    impatient = client_with(platform, key).with_options(timeout=0.4, max_retries=4)
    with contextlib.suppress(openai.APITimeoutError):
        ask(impatient, size="1024x1024")
    spent = client_with(platform, key)

    def settled() -> bool:
        return spent.get("/key", cast_to=dict)["in_flight"]["organization"] == 0

    platform.wait_for(settled, "settled")
    usage = spent.get("/usage", cast_to=dict)
    assert usage["total"] == {"images": 1, "cost_micros": PRICES_MICROS["1024x1024"]}


def test_another_path_is_a_not_found_error_in_json(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model="x", messages=[])
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["message"]


def test_after_all_this_the_books_are_right(platform: Platform, client: openai.OpenAI) -> None:
    def charged() -> tuple[int, int]:
        words = platform.manage("shell", "-v", "0", "-c", CHARGED).stdout.split()
        return int(words[0]), int(words[1])

    before = charged()
    sizes = ["512x512", "1024x768", "512x512"]
    for size in sizes:
        ask(client, size=size)
        with pytest.raises(openai.BadRequestError):
            ask(client, size=size, n=3)
    after = charged()
    spent = sum(PRICES_MICROS[size] for size in sizes)
    assert (after[0] - before[0], after[1] - before[1]) == (len(sizes), spent)
    reconciled = platform.manage("reconcile", check=False)
    assert reconciled.returncode == 0, reconciled.stdout
