"""Settings of a key for clients that cannot be changed: links, aliases, the nearest size; and the query."""

import hashlib
from typing import Any

import pytest

from accounts.models import ApiKey
from images.api.key_settings import nearest_size
from images.catalog import MODELS, SIZES
from images.models import Generation
from tests.calls import BODY, GENERATIONS, call, error_of, generate, verdict
from tests.cast import Person
from tests.images.make import books
from tests.pages.conftest import signed_in
from tests.working import working

drawn = pytest.mark.django_db(transaction=True)
ALIASES = {"dall-e-3": "flux-1-schnell", "openai/gpt-image-1": "flux-1-schnell"}
WRONG = (400, "invalid_request_error", "invalid_value", "response_format")


def set_up(person: Person, **settings: Any) -> None:
    ApiKey.objects.filter(pk=person.key.pk).update(**settings)


def ask(person: Person, query: str, **fields: Any) -> Any:
    """A generation with a query in its address; one that is taken by mistake waits no longer than a few seconds."""
    headers = person.headers | {"x-ecohash-deadline-seconds": "5"}
    return call("POST", f"{GENERATIONS}?{query}", BODY | fields, headers=headers)


def form_of(answer: Any) -> str:
    """What the answer holds: `url` or `b64_json`."""
    assert answer.status_code == 200
    [form] = set(answer.json()["data"][0]) - {"revised_prompt"}
    return form


@drawn
@pytest.mark.parametrize("fields", [{}, {"response_format": None}])
def test_links_by_default_answer_whoever_does_not_say(
    alice: Person, fields: dict[str, Any]
) -> None:
    with working():
        before = generate(alice, **fields)
        set_up(alice, prefers_links=True)
        after = generate(alice, **fields)
        said = generate(alice, response_format="b64_json")
    assert [form_of(answer) for answer in (before, after, said)] == ["b64_json", "url", "b64_json"]


@drawn
def test_the_form_is_read_from_the_query_and_the_body_has_the_last_word(alice: Person) -> None:
    with working():
        forms = [
            form_of(ask(alice, "response_format=url")),
            form_of(ask(alice, "response_format=url", response_format=None)),
            form_of(ask(alice, "response_format=url", response_format="b64_json")),
            form_of(ask(alice, "response_format=b64_json", response_format="url")),
            form_of(ask(alice, "api-version=2024-02-01")),
        ]
        set_up(alice, prefers_links=True)
        forms.append(form_of(ask(alice, "response_format=b64_json")))
    assert forms == ["url", "url", "b64_json", "url", "b64_json", "b64_json"]


@pytest.mark.parametrize(
    "query",
    [
        "response_format=",
        "response_format=URL",
        "response_format=base64",
        "response_format=url%20",
        "response_format=url&response_format=url",
        "response_format=url&response_format=b64_json",
    ],
)
@pytest.mark.parametrize("fields", [{}, {"response_format": "url"}])
def test_what_the_query_may_not_say_is_refused_before_anything_is_held(
    alice: Person, query: str, fields: dict[str, Any]
) -> None:
    assert verdict(ask(alice, query, **fields)) == WRONG
    assert not Generation.objects.exists() and books(alice) == (0, 0)


@drawn
def test_the_form_asked_for_in_the_query_is_part_of_what_a_repeat_must_repeat(
    alice: Person,
) -> None:
    named = alice.headers | {"Idempotency-Key": "one"}
    with working():
        first = call("POST", f"{GENERATIONS}?response_format=url", BODY, headers=named)
        same = call("POST", GENERATIONS, BODY | {"response_format": "url"}, headers=named)
        other = call("POST", GENERATIONS, BODY, headers=named)
    assert same["idempotent-replayed"] == "true" and same.content == first.content
    assert error_of(other)["code"] == "idempotency_key_reused"


@drawn
@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_means_its_model_and_the_answer_says_so(alice: Person, name: str) -> None:
    set_up(alice, model_aliases=ALIASES)
    with working():
        answer = generate(alice, model=name)
        own = generate(alice)
    assert answer.status_code == 200
    assert answer["x-ecohash-model"] == "flux-1-schnell" and "x-ecohash-model" not in own
    assert "x-ecohash-model" in answer["Access-Control-Expose-Headers"]
    assert set(Generation.objects.values_list("model", flat=True)) == {"flux-1-schnell"}
    assert books(alice) == (0, 20_000)


@drawn
def test_a_repeat_by_its_alias_gets_the_same_bytes_also_after_the_settings_changed(
    alice: Person,
) -> None:
    set_up(alice, model_aliases=ALIASES, nearest_size=True)
    named = alice.headers | {"Idempotency-Key": "one"}
    body = BODY | {"model": "dall-e-3", "size": "1792x1024"}
    with working():
        first = call("POST", GENERATIONS, body, headers=named)
        again = call("POST", GENERATIONS, body, headers=named)
        set_up(alice, prefers_links=True)
        later = call("POST", GENERATIONS, body, headers=named)
        other = call("POST", GENERATIONS, body | {"model": "flux-1-schnell"}, headers=named)
    digests = {hashlib.sha256(each.content).hexdigest() for each in (first, again, later)}
    assert first.status_code == 200 and len(digests) == 1
    for each in (again, later):
        assert each["idempotent-replayed"] == "true"
        assert each["x-ecohash-model"] == "flux-1-schnell"
        assert each["x-ecohash-requested-size"] == "1792x1024"
    # Another spelling of the model is another body.
    assert error_of(other)["code"] == "idempotency_key_reused"
    assert books(alice) == (0, 18_000)


@pytest.mark.parametrize(
    ("aliases", "name"),
    [
        ({}, "dall-e-3"),
        (ALIASES, "dall-e-2"),
        (ALIASES, "DALL-E-3"),
        (ALIASES, "gpt-image-1"),
        ({"dall-e-3": "gone"}, "dall-e-3"),
        ({"dall-e-3": "dall-e-3"}, "dall-e-3"),
    ],
)
def test_what_is_no_alias_of_an_offered_model_is_no_model(
    alice: Person, aliases: dict[str, str], name: str
) -> None:
    set_up(alice, model_aliases=aliases)
    refused = (404, "invalid_request_error", "model_not_found", "model")
    assert verdict(generate(alice, model=name)) == refused
    assert verdict(call("GET", f"/v1/models/{name}", headers=alice.headers)) == refused
    listed = call("GET", "/v1/models", headers=alice.headers).json()["data"]
    assert name not in [model["id"] for model in listed]


@pytest.mark.parametrize("model", [1, True, [], {}, ["dall-e-3"], {"dall-e-3": 1}])
def test_a_model_of_another_type_is_no_alias(alice: Person, model: Any) -> None:
    set_up(alice, model_aliases=ALIASES, nearest_size=True, prefers_links=True)
    assert error_of(generate(alice, model=model))["code"] == "invalid_type"


def test_a_model_of_the_catalog_is_never_another(alice: Person) -> None:
    set_up(alice, model_aliases={"flux-1-schnell": "other"})
    model = call("GET", "/v1/models/flux-1-schnell", headers=alice.headers).json()
    assert model["id"] == "flux-1-schnell"


def test_the_models_of_a_key_are_the_catalog_and_its_aliases(alice: Person, bob: Person) -> None:
    set_up(alice, model_aliases=ALIASES)
    listed = call("GET", "/v1/models", headers=alice.headers).json()["data"]
    assert [model["id"] for model in listed] == [*MODELS, *ALIASES]
    assert {(model["object"], model["owned_by"]) for model in listed} == {("model", "ecohash")}
    assert len({tuple(model) for model in listed}) == 1
    for name, path in [("dall-e-3", "dall-e-3"), ("openai/gpt-image-1", "openai%2Fgpt-image-1")]:
        alone = call("GET", f"/v1/models/{path}", headers=alice.headers)
        assert alone.json() in listed and alone.json()["id"] == name
    # Another key of the same organization has aliases of its own.
    assert len(call("GET", "/v1/models", headers=bob.headers).json()["data"]) == len(MODELS)


@drawn
@pytest.mark.parametrize(
    ("asked", "size", "micros"),
    [("1792x1024", "1024x768", 18_000), ("256x256", "512x512", 10_000)],
)
def test_the_nearest_size_is_drawn_charged_and_told(
    alice: Person, asked: str, size: str, micros: int
) -> None:
    assert error_of(generate(alice, size=asked))["param"] == "size"
    set_up(alice, nearest_size=True)
    with working():
        answer = generate(alice, size=asked)
        offered = generate(alice, size="512x512")
        default = generate(alice, size="auto")
    assert answer.json()["size"] == size and Generation.objects.earliest("created_at").size == size
    assert answer["x-ecohash-requested-size"] == asked
    assert answer["x-ecohash-cost-micros"] == str(micros)
    assert "x-ecohash-requested-size" in answer["Access-Control-Expose-Headers"]
    assert not any("x-ecohash-requested-size" in each for each in (offered, default))


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("1536x1024", "1024x768"),
        ("1024x1536", "768x1024"),
        ("1792x1024", "1024x768"),
        ("1024x1792", "768x1024"),
        ("256x256", "512x512"),
        ("640x640", "768x768"),
        ("2048x2048", "1024x1024"),
        ("1100x1000", "1024x1024"),
        ("1200x1000", "1024x768"),
        ("1x16384", "768x1024"),
        ("16384x1", "1024x768"),
        ("1024x1024", "1024x1024"),
    ],
)
def test_the_nearest_size_has_the_nearest_shape_and_then_the_nearest_area(
    asked: str, nearest: str
) -> None:
    assert nearest_size(asked, SIZES) == nearest


@pytest.mark.parametrize(
    "size",
    [
        *("", "large", "1024", "1024X1024", "1024 x 1024", "0x0", "0x512", "-512x512", "512x512\n"),
        *("16385x512", "512x99999", "9" * 400 + "x1", "05x05", "1e3x1e3", "512x512x512"),
        "\u0665x\u0665",
    ],
)
def test_what_is_no_size_stays_refused(alice: Person, size: str) -> None:
    set_up(alice, nearest_size=True)
    refusal = error_of(generate(alice, size=size))
    assert (refusal["code"], refusal["param"]) == ("invalid_value", "size")


@pytest.mark.parametrize("size", [512, True, [], {}, ["1792x1024"]])
def test_a_size_of_another_type_stays_refused(alice: Person, size: Any) -> None:
    set_up(alice, nearest_size=True)
    assert error_of(generate(alice, size=size))["code"] == "invalid_type"


def test_only_sizes_with_a_price_are_near(alice: Person) -> None:
    assert nearest_size("1792x1024", ["512x512"]) == "512x512"
    assert nearest_size("1792x1024", []) is None


def test_a_key_tells_its_settings(alice: Person) -> None:
    def told() -> dict[str, Any]:
        settings: dict[str, Any] = call("GET", "/v1/key", headers=alice.headers).json()["settings"]
        return settings

    off = {"default_response_format": "b64_json", "model_aliases": {}, "nearest_size": False}
    assert told() == off
    set_up(alice, prefers_links=True, model_aliases=ALIASES, nearest_size=True)
    on = {"default_response_format": "url", "model_aliases": ALIASES, "nearest_size": True}
    assert told() == on


@drawn
def test_the_requests_page_names_the_real_model_and_size(alice: Person) -> None:
    set_up(alice, model_aliases=ALIASES, nearest_size=True)
    with working():
        answer = generate(alice, model="dall-e-3", size="1792x1024")
    page = signed_in(alice).get(f"/dashboard/requests/{answer['x-ecohash-generation-id']}")
    text = page.content.decode()
    assert page.status_code == 200
    assert "1024x768" in text.replace("×", "x") and "dall-e-3" not in text
