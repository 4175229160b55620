"""Every row of the error table that can be reached today, as a client sees it."""

import json
from io import BytesIO
from typing import Any

import pytest
from django.utils import timezone

from billing.models import Hold
from images.models import Generation, new_generation_id
from tests.calls import BODY, GENERATIONS, call, error_of, generate, verdict
from tests.cast import Person
from tests.images import make

# Not a fresh one: parallel runs must collect the same tests.
SOME_GENERATION = "gen_0123456789ABCDEFGHIJKL"
BAD = "invalid_request_error"
PATHS = [
    (GENERATIONS, "POST"),
    (f"{GENERATIONS}/{SOME_GENERATION}", "GET, DELETE"),
    ("/v1/models", "GET"),
    ("/v1/models/flux-1-schnell", "GET"),
]
UNKNOWN_PATHS = [
    "/v1",
    "/v1/",
    "/v1/unknown",
    "/v1/images",
    "/v1/images/generations/gen_short",
    "/v1/images/generations/1",
    f"/v1/images/generations/{SOME_GENERATION}/more",
    "/v1/images/generations//",
    "/v1/modelsx",
    "/v1/chat/completions",
    "/v1/images/edits",
    "/v1/%00",
    "/v1/a%0Ab",
    "/v1/%ff%fe",
    "/v1/<script>",
]


def post(person: Person | None, body: Any, **options: Any) -> Any:
    headers = options.pop("headers", {}) | (person.headers if person else {})
    return call("POST", GENERATIONS, body, headers=headers, **options)


@pytest.mark.parametrize("body", [b"", b"{", b"not json", json.dumps(BODY).encode()])
def test_401_comes_before_any_judgment_of_the_body(db: None, body: bytes) -> None:
    response = post(None, body, content_type="text/plain")
    assert verdict(response) == (401, BAD, None, None)
    assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"not json",
        b"{'model': 'x'}",
        b'{"n": NaN}',
        b'{"n": Infinity}',
        b'{"n": -Infinity}',
        b'{"n": 1e999}',
        b'{"seed": ' + b"9" * 5_000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"prompt": "\xff\xfe"}',
        b"\xef\xbb\xbf",
        '{"prompt": "ü"}'.encode("latin-1"),
        json.dumps(BODY).encode("utf-16"),
        b"{} {}",
        b"\x00",
    ],
)
def test_a_body_that_is_no_json(alice: Person, body: bytes) -> None:
    response = post(alice, body)
    assert verdict(response) == (400, BAD, None, None)
    assert not Hold.objects.exists()


@pytest.mark.parametrize("body", [[], [BODY], "text", 1, True, None])
def test_a_body_that_is_no_object(alice: Person, body: Any) -> None:
    assert verdict(post(alice, json.dumps(body).encode())) == (400, BAD, None, None)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "*/*",
        "{}",
        "text/plain",
        "text/json",
        "application/jsonl",
        "application/json-patch+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ],
)
def test_another_content_type(alice: Person, content_type: str) -> None:
    response = post(alice, b"{", content_type=content_type)
    assert verdict(response) == (400, BAD, "unsupported_content_type", None)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;x=y"]
)
def test_parameters_of_the_content_type_are_fine(unfunded: Person, content_type: str) -> None:
    assert post(unfunded, BODY, content_type=content_type).status_code == 429


FIELD_FAULTS: list[tuple[dict[str, Any], int, str, str]] = [
    ({"model": ...}, 400, "missing_required_parameter", "model"),
    ({"prompt": None}, 400, "missing_required_parameter", "prompt"),
    ({"n": "1"}, 400, "invalid_type", "n"),
    ({"output_format": {}}, 400, "invalid_type", "output_format"),
    ({"size": "256x256"}, 400, "invalid_value", "size"),
    ({"prompt": " "}, 400, "invalid_value", "prompt"),
    ({"prompt": "a" * 1_001}, 400, "string_above_max_length", "prompt"),
    ({"n": 0}, 400, "integer_below_min_value", "n"),
    ({"n": 2}, 400, "integer_above_max_value", "n"),
    ({"seed": 2**32}, 400, "integer_above_max_value", "seed"),
    ({"output_format": "webp"}, 400, "unsupported_parameter", "output_format"),
    ({"stream": True}, 400, "unsupported_parameter", "stream"),
    ({"model": "dall-e-3"}, 404, "model_not_found", "model"),
]


@pytest.mark.parametrize(("fields", "status", "code", "param"), FIELD_FAULTS)
def test_a_field_that_is_wrong(
    alice: Person, fields: dict[str, Any], status: int, code: str, param: str
) -> None:
    assert verdict(generate(alice, **fields)) == (status, BAD, code, param)
    assert not Generation.objects.exists()


@pytest.mark.parametrize("name", ["dall-e-3", "gpt-image-1", "black-forest-labs/FLUX.1-dev"])
def test_an_unknown_model_is_named_with_the_ways_out(alice: Person, name: str) -> None:
    answers = [generate(alice, model=name)]
    if "/" not in name:
        answers.append(call("GET", f"/v1/models/{name}", headers=alice.headers))
    for response in answers:
        assert verdict(response) == (404, BAD, "model_not_found", "model")
        message = error_of(response)["message"]
        assert f"The model `{name}` does not exist here. Use `flux-1-schnell`" in message
        assert f"alias for `{name}`" in message


def test_a_missing_model_is_told_with_those_that_there_are(alice: Person) -> None:
    assert "`flux-1-schnell`" in error_of(generate(alice, model=...))["message"]


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "BREW"])
def test_an_unknown_path_is_404_before_method_and_key(db: None, path: str, method: str) -> None:
    assert verdict(call(method, path, b"")) == (404, BAD, None, None)


@pytest.mark.parametrize(
    ("path", "methods", "wrong"),
    [
        (path, methods, wrong)
        for path, methods in PATHS
        for wrong in ("PUT", "PATCH", "DELETE", "TRACE", "BREW", "POST", "GET")
        if wrong not in methods
    ],
)
def test_another_method_is_405_before_the_key(
    db: None, path: str, methods: str, wrong: str
) -> None:
    response = call(wrong, path, b"")
    assert verdict(response) == (405, BAD, "method_not_allowed", None)
    assert response["Allow"] == methods


def test_a_method_override_is_not_obeyed(alice: Person) -> None:
    headers = alice.headers | {"X-HTTP-Method-Override": "GET"}
    assert call("POST", "/v1/models", b"", headers=headers).status_code == 405


@pytest.mark.parametrize("excess", [0, 1])
def test_a_body_above_one_mebibyte(unfunded: Person, excess: int) -> None:
    body = json.dumps(BODY).encode()
    body += b" " * (1024 * 1024 + excess - len(body))
    expected = (
        (413, BAD, "request_too_large", None) if excess else (429, *["insufficient_quota"] * 2)
    )
    assert verdict(post(unfunded, body))[: len(expected)] == expected


def test_a_chunked_body_above_one_mebibyte(unfunded: Person) -> None:
    chunked = {"wsgi.input": BytesIO(b" " * (1024 * 1024 + 1)), "wsgi.input_terminated": True}
    response = post(unfunded, b"", CONTENT_LENGTH="", **chunked)
    assert verdict(response) == (413, BAD, "request_too_large", None)


@pytest.mark.parametrize("length", ["abc", "-1", "1e3", "9" * 30])
def test_a_length_that_is_none(unfunded: Person, length: str) -> None:
    response = post(unfunded, b"{}", CONTENT_LENGTH=length)
    assert response.status_code in {400, 413}
    error_of(response)


def test_no_credit_is_429_and_tells_clients_not_to_retry(unfunded: Person) -> None:
    response = generate(unfunded)
    assert verdict(response) == (429, "insufficient_quota", "insufficient_quota", None)
    assert response["x-should-retry"] == "false"
    assert "Retry-After" not in response
    assert not Generation.objects.exists()


@pytest.mark.parametrize("value", ["0", "-1", "abc", "", "1.5", "٣", "9" * 400])
def test_an_impossible_deadline(alice: Person, value: str) -> None:
    response = post(alice, BODY, headers={"x-ecohash-deadline-seconds": value})
    assert verdict(response) == (400, BAD, "invalid_value", "x-ecohash-deadline-seconds")


@pytest.mark.django_db(transaction=True)
def test_a_deadline_that_passes_is_503_and_charges_nothing(alice: Person) -> None:
    response = post(alice, BODY, headers={"x-ecohash-deadline-seconds": "1"})
    overloaded = (503, "service_unavailable_error", "server_is_overloaded", None)
    assert verdict(response) == overloaded
    assert 1 <= int(response["Retry-After"]) <= 60
    assert make.books(alice) == (0, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("status", "expected", "headers"),
    [
        ("failed", (500, "server_error", None, None), {}),
        ("canceled", (400, BAD, "generation_canceled", None), {"x-should-retry": "false"}),
    ],
)
def test_a_job_that_ended_without_a_picture(
    alice: Person, status: str, expected: tuple[Any, ...], headers: dict[str, str], monkeypatch
) -> None:
    from images.jobs import generation

    def end(job: Generation, **_: Any) -> Generation:
        assert generation.give_up(job, Generation.Status(status), "test")
        return make.now(job)

    monkeypatch.setattr(generation, "wait_until_finished", end)
    response = generate(alice)
    assert verdict(response) == expected
    assert {name: response[name] for name in headers} == headers
    assert make.books(alice) == (0, 0)


@pytest.mark.parametrize("accept", ["text/html", "image/png", "nonsense", "application/xml;q=0.1"])
def test_the_answer_is_json_whatever_is_accepted(alice: Person, accept: str) -> None:
    for response in (
        post(alice, b"{", headers={"Accept": accept}),
        call("GET", "/v1/nowhere", headers={"Accept": accept}),
        call("GET", "/v1/models?format=api", headers=alice.headers | {"Accept": accept}),
    ):
        assert response["Content-Type"] == "application/json"


def test_no_error_repeats_a_key_or_the_prompt(alice: Person, unfunded: Person) -> None:
    answers = [
        generate(unfunded, prompt="CANARY"),
        generate(alice, prompt="CANARY" * 300),
        generate(alice, prompt="CANARY", size="CANARY"),
        generate(alice, model="a CANARY on a roof"),
        generate(alice, model="eco_CANARY"),
        generate(alice, model=alice.secret),
        generate(alice, prompt="CANARY csam"),
        post(alice, b'{"prompt": "CANARY'),
        call("GET", "/v1/CANARY"),
        call("GET", "/v1/models/sk-CANARY", headers=alice.headers),
        call("GET", f"/v1/models/x:{alice.secret}", headers=alice.headers),
        call("POST", GENERATIONS, BODY, headers={"Authorization": "Bearer eco_CANARY"}),
    ]
    for response in answers:
        assert response.status_code >= 400
        text = response.content.decode() + str(response.headers)
        assert "CANARY" not in text
        assert alice.secret not in text
        assert unfunded.secret not in text


def test_only_texts_about_rate_limits_speak_of_them(alice: Person, unfunded: Person) -> None:
    answers = [generate(unfunded), generate(alice, n=5), generate(None), call("GET", "/v1/x")]
    for response in answers:
        message = error_of(response)["message"].lower()
        assert "rate limit" not in message
        assert "429" not in message


def test_the_order_is_path_method_key_content_type_body(alice: Person) -> None:
    wrong: dict[str, Any] = {"content_type": "text/plain"}
    codes = [
        call("PUT", "/v1/nowhere", b"{", **wrong).status_code,
        call("PUT", GENERATIONS, b"{", **wrong).status_code,
        call("POST", GENERATIONS, b"{", **wrong).status_code,
        error_of(post(alice, b"{", **wrong))["code"],
        error_of(post(alice, b"{"))["code"],
    ]
    assert codes == [404, 405, 401, "unsupported_content_type", None]


def test_a_foreign_or_unknown_generation_is_not_found(alice: Person, charlie: Person) -> None:
    job = make.queued(alice)
    unknown = (404, BAD, "generation_not_found", None)
    for person, name in [(charlie, job.id), (alice, new_generation_id())]:
        response = call("GET", f"{GENERATIONS}/{name}", headers=person.headers)
        assert verdict(response) == unknown


def test_a_host_that_is_not_ours_gets_json_too(db: None) -> None:
    response = call("GET", "/v1/models", headers={"Host": "evil.example"})
    assert verdict(response)[:2] == (400, BAD)


def test_a_query_of_a_thousand_fields_is_a_bad_request(db: None) -> None:
    response = call("GET", f"/i/{'a' * 32}.png?" + "&" * 1_100)
    assert verdict(response)[:2] == (400, BAD)


def test_an_expired_job_is_told_as_an_object(alice: Person) -> None:
    from images.jobs import generation

    job = make.queued(alice)
    generation.expire(job)
    answer = call("GET", f"{GENERATIONS}/{job.id}", headers=alice.headers).json()
    assert answer["status"] == "expired"
    assert answer["cost_micros"] == 0
    assert answer["data"] == []
    assert answer["error"]["code"] == "server_is_overloaded"
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["created"] <= timezone.now().timestamp()
