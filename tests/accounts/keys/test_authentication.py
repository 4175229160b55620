"""Who gets into the API, and what those hear who do not."""

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from accounts.keys import authentication, keys
from accounts.models import ApiKey
from tests.calls import call, error_of, verdict
from tests.cast import Person

MODELS = "/v1/models"
MISSING = (401, "invalid_request_error", None, None)
INVALID = (401, "invalid_request_error", "invalid_api_key", None)
TOO_MANY = (429, "rate_limit_error", "rate_limit_exceeded", None)


def with_header(value: str) -> Any:
    return call("GET", MODELS, headers={"Authorization": value})


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {}", "  Bearer {}  "])
def test_a_live_key_is_accepted(alice: Person, form: str) -> None:
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


def reason(response: Any, expected: tuple[Any, ...] = INVALID) -> str:
    """What the refusal says, in small letters, once it is the expected one."""
    assert verdict(response) == expected
    assert response["WWW-Authenticate"] == "Bearer"
    message: str = error_of(response)["message"]
    return message.lower()


def test_the_key_of_another_server_is_unknown(alice: Person, settings) -> None:
    settings.KEY_PEPPERS = {1: "the pepper of another server, say a test one"}
    assert "unknown here" in reason(with_header(f"Bearer {alice.secret}"))


ENDED: dict[str, dict[str, Any]] = {
    "revoked on 2026-11-30": {"revoked_at": datetime(2026, 11, 30, 23, 59, tzinfo=UTC)},
    "suspended on 2026-11-30": {
        "suspended_at": datetime(2026, 11, 30, tzinfo=UTC),
        "suspended_because": "CANARY",
    },
    "expired on 2020-02-29": {"expires_at": datetime(2020, 2, 29, tzinfo=UTC)},
}


@pytest.mark.parametrize("expected", ENDED)
def test_who_holds_a_key_that_ended_is_told_how(alice: Person, expected: str) -> None:
    ApiKey.objects.filter(pk=alice.key.pk).update(**ENDED[expected])
    response = with_header(f"Bearer {alice.secret}")
    assert expected in reason(response)
    assert "CANARY" not in response.content.decode()


def test_a_key_that_was_revoked_and_has_expired_was_revoked(alice: Person) -> None:
    ended = ENDED["revoked on 2026-11-30"] | ENDED["expired on 2020-02-29"]
    ApiKey.objects.filter(pk=alice.key.pk).update(**ended)
    assert "revoked on" in reason(with_header(f"Bearer {alice.secret}"))


def mistyped(secret: str) -> str:
    """With the last character replaced by another."""
    return secret[:-1] + ("a" if secret[-1] != "a" else "b")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("'{}'", "quotes"),
        ('"{}"', "quotes"),
        ("\u201c{}\u201d", "before or after"),
        ("{}x", "before or after"),
        ("Bearer {}", "twice"),
        ("bearer: {}", "twice"),
        ("{},", "before or after"),
        ("{}\\n", "before or after"),
        ("key={};", "before or after"),
    ],
)
def test_what_stands_around_a_key_is_named(alice: Person, form: str, expected: str) -> None:
    response = with_header("Bearer " + form.format(alice.secret).encode().decode("latin-1"))
    assert expected in reason(response)
    assert alice.secret not in response.content.decode()


@pytest.mark.parametrize("dead", [False, True])
def test_a_mistyped_key_is_told_so_whether_the_right_one_is_known_or_not(
    alice: Person, *, dead: bool
) -> None:
    if dead:
        keys.revoke(alice.key)
    assert "last characters do not fit" in reason(with_header(f"Bearer {mistyped(alice.secret)}"))
    assert "incomplete" in reason(with_header(f"Bearer {alice.secret[:-1]}"))
    assert "too long" in reason(with_header(f"Bearer {mistyped(alice.secret)}x"))
    assert "begins with 'eco_'" in reason(with_header(f"Bearer ECO_{alice.secret[4:]}"))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("$ECOHASH_API_KEY", "placeholder"),
        ("${OPENAI_API_KEY}", "placeholder"),
        ("%API_KEY%", "placeholder"),
        ("{{ api_key }}", "placeholder"),
        ("<your key>", "placeholder"),
        ("YOUR_API_KEY", "placeholder"),
        ("your-key-here", "placeholder"),
        ("xxxxxxxx", "placeholder"),
        ("dummy", "placeholder"),
        ("undefined", "empty value"),
        ("null", "empty value"),
        ("None", "empty value"),
        ("''", "empty value"),
        ("[object Object]", "empty value"),
        ("eco_...", "shortened"),
        ("eco_Ab12***wxyz", "shortened"),
        ("sk-1234567890", "another service"),
        ("sk-proj-abcdef", "another service"),
        ("r8_abcdef", "another service"),
        ("hf_abcdef", "another service"),
        ("eyJhbGciOi.e30.x", "another service"),
        ("Bearer sk-1234", "twice"),
        ("Bearer", "twice"),
        ("hello", "no api key of this service"),
    ],
)
def test_what_is_sent_in_place_of_a_key_is_named(db: None, sent: str, expected: str) -> None:
    response = with_header(f"Bearer {sent}")
    assert expected in reason(response)
    assert "1234" not in response.content.decode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Bearer", "nothing follows"),
        ("Bearer: {}", "followed by one space"),
        ("Bearer%20{}", "followed by one space"),
        ("Bearer={}", "followed by one space"),
        ("{}", "bearer is missing"),
        ("Token {}", "bearer must stand before it"),
        ("Basic YTpi", "bearer must stand before it"),
    ],
)
def test_a_header_without_a_bearer_key_is_named(alice: Person, header: str, expected: str) -> None:
    response = with_header(header.format(alice.secret))
    assert expected in reason(response, MISSING)
    assert alice.secret not in response.content.decode()


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "x-goog-api-key"])
def test_a_key_in_another_header_is_told_which_one_is_read(alice: Person, name: str) -> None:
    response = call("GET", MODELS, headers={name: alice.secret})
    assert f"the header {name} is not read" in reason(response, MISSING)
    assert alice.secret not in response.content.decode()


@pytest.mark.parametrize("query", ["api_key={}", "a=1&key={}", "access_token={}", "API-Key={}"])
def test_a_key_in_the_address_is_told_that_it_is_not_read_there(alice: Person, query: str) -> None:
    response = call("GET", f"{MODELS}?{query.format(alice.secret)}")
    assert "a key in the address" in reason(response, MISSING)
    assert alice.secret not in response.content.decode()


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


def fails(times: int, **environ: Any) -> list[int]:
    """The status of that many calls without a key."""
    return [call("GET", MODELS, **environ).status_code for _ in range(times)]


def test_an_address_that_fails_too_often_is_told_to_wait(db: None, settings) -> None:
    settings.FAILED_AUTHENTICATIONS_PER_MINUTE = 3
    answers = [call("GET", MODELS), *[with_header("Bearer eco_wrong") for _ in range(3)]]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert verdict(answers[-1]) == TOO_MANY
    # It counts down from 20 while the calls are made.
    assert int(answers[-1]["Retry-After"]) in range(11, 21)
    assert "Rate limit" in error_of(answers[-1])["message"]


def test_a_minute_has_three_hundred_failures() -> None:
    assert authentication.bucket_of_failures(ip_address("127.0.0.1")).per_minute == 300


def test_a_valid_key_is_never_refused_for_the_failures_of_its_address(
    alice: Person, settings
) -> None:
    settings.FAILED_AUTHENTICATIONS_PER_MINUTE = 1
    assert fails(3) == [401, 429, 429]
    for _ in range(3):
        assert with_header(f"Bearer {alice.secret}").status_code == 200


def test_a_valid_key_counts_as_no_failure(alice: Person, settings) -> None:
    settings.FAILED_AUTHENTICATIONS_PER_MINUTE = 1
    for _ in range(5):
        with_header(f"Bearer {alice.secret}")
    assert fails(1) == [401]


def test_addresses_are_counted_apart_and_ipv6_by_its_network(db: None, settings) -> None:
    settings.FAILED_AUTHENTICATIONS_PER_MINUTE = 1
    assert fails(2, REMOTE_ADDR="203.0.113.1") == [401, 429]
    assert fails(1, REMOTE_ADDR="203.0.113.2") == [401]
    assert fails(1, REMOTE_ADDR="2001:db8::1") == [401]
    assert fails(1, REMOTE_ADDR="2001:db8::ffff:2") == [429]
    assert fails(1, REMOTE_ADDR="2001:db8:0:1::1") == [401]


def test_behind_a_proxy_the_caller_is_counted_and_not_the_proxy(db: None, settings) -> None:
    settings.FAILED_AUTHENTICATIONS_PER_MINUTE = 1
    settings.TRUSTED_PROXIES = 1
    assert fails(2, HTTP_X_FORWARDED_FOR="203.0.113.1") == [401, 429]
    # What the caller wrote itself stands further left.
    assert fails(1, HTTP_X_FORWARDED_FOR="198.51.100.9, 203.0.113.1") == [429]
    assert fails(1, HTTP_X_FORWARDED_FOR="203.0.113.2") == [401]


def test_a_unix_socket_has_no_address_and_is_served(alice: Person, settings) -> None:
    settings.FAILED_AUTHENTICATIONS_PER_MINUTE = 1
    assert fails(2, REMOTE_ADDR="") == [401, 429]
    answer = call("GET", MODELS, headers=alice.headers, REMOTE_ADDR="")
    assert answer.status_code == 200
