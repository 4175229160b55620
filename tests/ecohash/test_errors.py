"""What nobody expected: told in the API's own shape, and logged without a secret."""

import json

import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError

from accounts.keys import keys
from images.jobs import generation
from tests.calls import call, error_of, generate, verdict
from tests.cast import Person
from tests.ecohash.conftest import Log

AWAY = (503, "service_unavailable_error", "server_is_overloaded", None)
FAULT = (500, "server_error", None, None)


def breaking(error: Exception):
    def broken(*_args: object, **_kwargs: object) -> None:
        raise error

    return broken


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
@pytest.mark.parametrize(("module", "name"), [(keys, "find"), (generation, "admit")])
def test_a_database_that_is_away_is_503(alice: Person, monkeypatch, kind, module, name) -> None:
    monkeypatch.setattr(module, name, breaking(kind("connection refused")))
    response = generate(alice)
    assert verdict(response) == AWAY
    assert 1 <= int(response["Retry-After"]) <= 60
    assert "connection refused" not in response.content.decode()


@pytest.mark.parametrize("error", [ValueError("CANARY"), ProgrammingError("CANARY"), KeyError("x")])
def test_our_own_fault_is_500_and_says_what_to_quote(alice: Person, monkeypatch, error) -> None:
    monkeypatch.setattr(generation, "admit", breaking(error))
    response = generate(alice)
    assert verdict(response) == FAULT
    assert "x-request-id" in error_of(response)["message"]
    assert "CANARY" not in response.content.decode()


def test_a_fault_is_logged_with_its_place_and_its_request(
    alice: Person, monkeypatch, log: Log
) -> None:
    monkeypatch.setattr(generation, "admit", breaking(ValueError("boom")))
    response = generate(alice)
    [fault] = [line for line in log() if line["message"] == "request failed"]
    assert fault["level"] == "ERROR"
    assert fault["request_id"] == response["x-request-id"]
    assert "test_errors.py" in json.dumps(fault)


@pytest.mark.parametrize("path", ["/nowhere", "/dashboard/nowhere"])
def test_a_page_that_is_not_there_is_a_page_of_ours(db: None, path: str) -> None:
    response = call("GET", path)
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")
    assert "EcoHash" in response.content.decode()


def test_a_host_that_is_not_ours_gets_a_page_of_400(db: None) -> None:
    assert call("GET", "/", headers={"Host": "evil.example"}).status_code == 400
