"""Whatever is sent, the API answers in its own shape and never with a fault of ours.

The caller has no credit, so that a body which happens to be right is refused and draws nothing.
"""

import json
from typing import Any
from urllib.parse import quote

import pytest
from django.test import RequestFactory
from gunicorn.http.errors import ChunkMissingTerminator
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ecohash.wsgi import application
from tests.calls import BODY, GENERATIONS, call, error_of
from tests.cast import Person

FIELDS = [
    "model",
    "prompt",
    "size",
    "n",
    "response_format",
    "seed",
    "output_format",
    "stream",
    "quality",
    "user",
]
fuzzed = settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    # One caller serves all examples: nothing that they send changes it.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**62, max_value=2**70)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from(
        ["auto", "1024x1024", "url", "png", "webp", "flux-1-schnell", "\x00", "\ud800"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
header_text = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)


def judge(response: Any) -> None:
    """Refused, in the contract's shape."""
    assert 400 <= response.status_code < 500, response.content[:200]
    error_of(response)


def post(person: Person, body: bytes, **headers: str) -> Any:
    return call("POST", GENERATIONS, body, headers=person.headers | headers)


@fuzzed
@given(fields=st.dictionaries(st.sampled_from(FIELDS), anything, max_size=4))
@example(fields={"output_format": [[]]})
@example(fields={"model": {}})
def test_any_json_in_any_field(unfunded: Person, fields: dict[str, Any]) -> None:
    judge(post(unfunded, json.dumps(BODY | fields).encode()))


@fuzzed
@given(body=anything)
def test_any_json_as_the_body(unfunded: Person, body: Any) -> None:
    judge(post(unfunded, json.dumps(body).encode()))


@fuzzed
@given(body=st.binary(max_size=200))
def test_any_bytes_as_the_body(unfunded: Person, body: bytes) -> None:
    judge(post(unfunded, body))


@fuzzed
@given(place=st.integers(0, 70), byte=st.binary(max_size=4))
def test_a_right_body_with_a_few_wrong_bytes(unfunded: Person, place: int, byte: bytes) -> None:
    right = json.dumps(BODY).encode()
    judge(post(unfunded, right[:place] + byte + right[place + 1 :]))


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"prompt": [', '{"seed": -', '{"n": 1'])
@pytest.mark.parametrize("times", [1_000, 5_000, 100_000])
def test_nesting_and_digits_without_end(unfunded: Person, opening: str, times: int) -> None:
    judge(post(unfunded, (opening * times).encode()))
    judge(post(unfunded, f"{opening}{'9' * times}}}".encode()))


@pytest.mark.parametrize("depth", [64, 65, 500, 940])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_a_depth_that_could_be_read_is_refused_too(
    unfunded: Person, opening: str, closing: str, depth: int
) -> None:
    """Python reads nearly a thousand levels, and cannot write what it has read."""
    response = post(unfunded, f'{{"user": {opening * depth}1{closing * depth}}}'.encode())
    judge(response)
    assert "nested" in response.json()["error"]["message"]


def test_a_depth_of_64_is_read(unfunded: Person) -> None:
    response = post(unfunded, f'{{"user": {"[" * 63}{"]" * 63}}}'.encode())
    assert "nested" not in response.json()["error"]["message"]
    wide = json.dumps(BODY | {"user": [[] for _ in range(1_000)]}).encode()
    assert "nested" not in post(unfunded, wide).json()["error"]["message"]


class Broken:
    """What a server gives us to read of a body whose chunks are malformed."""

    def read(self, *_size: int) -> bytes:
        raise ChunkMissingTerminator(b"eco_")

    readline = read


@pytest.mark.parametrize("path", [GENERATIONS, "/login", "/webhooks/stripe"])
def test_whatever_fails_while_a_body_is_read_is_the_clients_fault(db: None, path: str) -> None:
    environ = RequestFactory().post(path, content_type="application/json").environ
    environ |= {"wsgi.input": Broken(), "wsgi.input_terminated": True, "CONTENT_LENGTH": "9"}
    statuses: list[str] = []
    b"".join(application(environ, lambda status, _headers, *_: statuses.append(status)))
    assert 400 <= int(statuses[0].split()[0]) < 500


@fuzzed
@given(value=header_text)
@example(value="Bearer \xff\xfe")
@example(value="Bearer eco_" + "a" * 5_000)
def test_any_authorization(db: None, value: str) -> None:
    response = call("GET", "/v1/models", headers={"Authorization": value})
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    error_of(response)


@fuzzed
@given(content_type=header_text | st.sampled_from(["application/json;charset=\xff", ";", "a/b;q"]))
def test_any_content_type(unfunded: Person, content_type: str) -> None:
    judge(
        call(
            "POST",
            GENERATIONS,
            json.dumps(BODY).encode(),
            content_type=content_type,
            headers=unfunded.headers,
        )
    )


@fuzzed
@given(seconds=header_text | st.integers().map(str))
def test_any_deadline(unfunded: Person, seconds: str) -> None:
    judge(post(unfunded, json.dumps(BODY).encode(), **{"x-ecohash-deadline-seconds": seconds}))


@fuzzed
@given(
    root=st.sampled_from(["/v1/", "/i/", "/v1/models/", f"{GENERATIONS}/", "/i/" + "a" * 32]),
    rest=st.text(st.characters(codec="utf-8"), max_size=30).map(quote)
    | st.binary(max_size=20).map(quote)
    | st.text(alphabet="./?&=%;#\\@:", max_size=20),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"]),
)
def test_any_path_and_method(unfunded: Person, root: str, rest: str, method: str) -> None:
    response = call(method, root + rest, headers=unfunded.headers)
    if response.status_code == 200:
        assert method in {"GET", "HEAD"}
    elif method == "HEAD":
        assert 400 <= response.status_code < 500
    else:
        judge(response)


@fuzzed
@given(asked=header_text, origin=header_text)
def test_any_preflight(db: None, asked: str, origin: str) -> None:
    headers = {"Access-Control-Request-Headers": asked, "Origin": origin}
    response = call("OPTIONS", GENERATIONS, headers=headers)
    assert response.status_code in {200, 204}
    assert response["Access-Control-Allow-Origin"] == "*"
