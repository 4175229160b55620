"""What every answer carries, whatever made it."""

import json

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
