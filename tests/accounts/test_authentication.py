"""Who gets into the API, and what those hear who do not."""

from typing import Any

import pytest

from accounts import keys
from accounts.models import ApiKey
from tests.calls import call, error_of, verdict
from tests.cast import Person

MODELS = "/v1/models"
MISSING = (401, "invalid_request_error", None, None)
INVALID = (401, "invalid_request_error", "invalid_api_key", None)


def with_header(value: str) -> Any:
    return call("GET", MODELS, headers={"Authorization": value})


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {}", "  Bearer {}  "])
def test_a_live_key_opens_the_door(alice: Person, form: str) -> None:
    assert with_header(form.format(alice.secret)).status_code == 200


def test_without_a_header_the_caller_is_told_how_to_send_one(db: None) -> None:
    response = call("GET", MODELS)
    assert verdict(response) == MISSING
    assert response["WWW-Authenticate"] == "Bearer"
    assert "Authorization: Bearer" in error_of(response)["message"]


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic YTpi", "eco_abc", "Token x"])
def test_another_scheme_or_nothing_counts_as_no_key(db: None, value: str) -> None:
    response = with_header(value)
    assert verdict(response) == MISSING
    assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("value", ["eco_wrong", "sk-1234", "é" * 42, "a b c", "eco_" + "0" * 38])
def test_what_is_no_key_is_an_invalid_key(db: None, value: str) -> None:
    response = with_header(f"Bearer {value}")
    assert verdict(response) == INVALID
    assert response["WWW-Authenticate"] == "Bearer"
    assert value not in response.content.decode()


def test_the_key_of_another_server_is_invalid(alice: Person, settings) -> None:
    settings.KEY_PEPPERS = {1: "the pepper of another server, say a test one"}
    assert verdict(with_header(f"Bearer {alice.secret}")) == INVALID


def test_a_revoked_key_is_refused_from_the_next_request_on(alice: Person) -> None:
    assert with_header(f"Bearer {alice.secret}").status_code == 200
    keys.revoke(alice.key)
    assert verdict(with_header(f"Bearer {alice.secret}")) == INVALID


def test_a_key_that_was_used_says_so(alice: Person) -> None:
    assert alice.key.last_used_at is None
    with_header(f"Bearer {alice.secret}")
    assert ApiKey.objects.get(pk=alice.key.pk).last_used_at


def test_a_refused_key_is_not_noted_as_used(alice: Person) -> None:
    keys.revoke(alice.key)
    with_header(f"Bearer {alice.secret}")
    assert ApiKey.objects.get(pk=alice.key.pk).last_used_at is None


def test_a_signed_in_browser_does_not_get_into_the_api(alice: Person, client) -> None:
    client.force_login(alice.user)
    assert client.get(MODELS).status_code == 401
