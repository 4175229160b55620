"""What every answer carries, whatever made it."""

import json
from typing import Any

import pytest

from accounts.http import request_id
from tests.calls import call, generate
from tests.cast import Person
from tests.ecohash.conftest import Log


@pytest.mark.parametrize("path", ["/", "/nowhere", "/v1/models", "/healthz", "/i/x", "/admin/"])
def test_every_answer_has_a_request_id(db: None, path: str) -> None:
    response = call("GET", path)
    assert response["x-request-id"].startswith("req_")
    assert len(response["x-request-id"]) == 28


def test_a_callers_own_request_id_is_not_believed(db: None) -> None:
    response = call("GET", "/v1/models", headers={"x-request-id": "req_mine"})
    assert response["x-request-id"] != "req_mine"


def test_pages_may_not_be_read_by_other_sites(db: None) -> None:
    assert "Access-Control-Allow-Origin" not in call("GET", "/")
    assert "openai-processing-ms" not in call("GET", "/")


def test_each_request_is_one_line_without_its_query(db: None, log: Log) -> None:
    response = call("GET", f"/i/{'a' * 32}.png?expires=1&sig=CANARY")
    [line] = [line for line in log() if line["message"] == "request"]
    assert line["request_id"] == response["x-request-id"]
    assert (line["method"], line["status"]) == ("GET", 403)
    assert "CANARY" not in json.dumps(log())


def test_the_id_belongs_to_its_request_alone(alice: Person) -> None:
    generate(alice, n=2)
    assert request_id.current() == "-"


# --- CORS -------------------------------------------------------------------------------------------


def preflight(asked: str, path: str = "/v1/images/generations", **more: str) -> Any:
    headers = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    return call("OPTIONS", path, headers=headers | more)


@pytest.mark.parametrize(
    "asked",
    [
        "authorization, content-type, openai-organization, openai-project, openai-beta",
        "authorization,x-stainless-os,x-stainless-helper-method,x-stainless-poll-helper",
        "x-client-request-id, user-agent, x-title, http-referer, api-key, cache-control",
        "a!#$%&'*+-.^_`|~0",
        "Authorization, CONTENT-TYPE",
    ],
)
def test_a_preflight_allows_each_header_with_a_valid_name(db: None, asked: str) -> None:
    answer = preflight(asked)
    assert answer.status_code == 204
    allowed = [name.strip() for name in answer["Access-Control-Allow-Headers"].split(",")]
    assert allowed == [name.strip().lower() for name in asked.split(",")]
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer
    assert "POST" in answer["Access-Control-Allow-Methods"]


@pytest.mark.parametrize("asked", ["", ",", "a b", "x:y", "<script>", "a;b", "é", '"x"', "a\tb"])
def test_what_is_no_name_is_not_repeated(db: None, asked: str) -> None:
    answer = preflight(f"authorization,{asked},content-type")
    assert answer["Access-Control-Allow-Headers"] == "authorization, content-type"


def test_a_page_without_an_origin_may_read_the_answer(alice: Person) -> None:
    """A sandboxed frame and a file send `Origin: null`."""
    headers = alice.headers | {"Origin": "null"}
    for key in (headers, {"Origin": "null"}):
        assert call("GET", "/v1/models", headers=key)["Access-Control-Allow-Origin"] == "*"
    assert preflight("authorization", Origin="null").status_code == 204


def test_only_a_developers_machine_lets_pages_of_the_internet_in(db: None, settings: Any) -> None:
    name = "Access-Control-Allow-Private-Network"
    asks = {"Access-Control-Request-Private-Network": "true"}
    assert preflight("authorization", **asks)[name] == "true"
    assert name not in preflight("authorization")
    settings.PRODUCTION = True
    assert name not in preflight("authorization", **asks)


def test_pages_have_no_preflight(db: None) -> None:
    for path in ("/login", "/dashboard/keys"):
        assert "Access-Control-Allow-Origin" not in preflight("x-requested-with", path)
