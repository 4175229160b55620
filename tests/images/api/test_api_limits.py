"""What a key may do, as its caller sees it: limits and their headers, scopes, networks, and GET /v1/key."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.limits import rate_limits
from accounts.limits.gcra import Level
from accounts.models import ApiKey, Organization
from billing.ledger import budgets
from billing.models import Budget
from ecohash.web.middleware import EXPOSED
from images.api import generations
from images.api.serializers import ModelNotFound
from tests.calls import GENERATIONS, call, error_of, generate, verdict
from tests.cast import Person

MODELS = "/v1/models"
KEY = "/v1/key"
NO_PERMISSION = (403, "invalid_request_error", "insufficient_permissions", None)
LIMITED = (429, "rate_limit_error", "rate_limit_exceeded", None)
NAMES = [
    f"x-ratelimit-{part}-{kind}"
    for kind in ("requests", "images")
    for part in ("limit", "remaining", "reset")
]


def get(person: Person, path: str = MODELS, **environ: Any) -> Any:
    return call("GET", path, headers=person.headers, **environ)


def change(thing: Organization | ApiKey, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(thing, name, value)
    thing.save()


def remaining(response: Any, kind: str = "requests") -> int:
    return int(response[f"x-ratelimit-remaining-{kind}"])


def has_limit_headers(response: Any) -> bool:
    if not all(name in response for name in NAMES):
        return False
    duration = re.compile(r"\d+ms|(\d+m)?\d+s")
    return all(
        duration.fullmatch(response[name]) if "reset" in name else response[name].isdigit()
        for name in NAMES
    )


# --- headers and limits ---------------------------------------------------------------------------


def test_every_answer_to_a_valid_key_says_what_is_left(alice: Person, unfunded: Person) -> None:
    answers = {
        200: get(alice),
        404: get(alice, f"{MODELS}/dall-e-3"),
        400: generate(alice, n=5),
        429: generate(unfunded),
    }
    assert {status: answer.status_code for status, answer in answers.items()} == {
        status: status for status in answers
    }
    assert all(map(has_limit_headers, answers.values()))


def test_a_fault_of_ours_says_so_too(alice: Person, monkeypatch) -> None:
    monkeypatch.setattr(generations, "describe", None)
    answer = get(alice)
    assert answer.status_code == 500
    assert has_limit_headers(answer)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer eco_wrong"}])
def test_who_has_no_key_hears_of_no_limits(db: None, headers: dict[str, str]) -> None:
    answers = [call("GET", MODELS, headers=headers), call("PUT", MODELS, headers=headers)]
    assert [answer.status_code for answer in answers] == [401, 405]
    assert not any(name in answer for name in NAMES for answer in answers)


def test_a_get_takes_one_request(alice: Person) -> None:
    change(alice.organization, requests_per_minute=10)
    answers = [get(alice), get(alice, f"{MODELS}/dall-e-3"), get(alice)]
    assert [remaining(answer) for answer in answers] == [9, 8, 7]
    assert [remaining(answer, "images") for answer in answers] == [300] * 3


def test_a_head_takes_one_too(alice: Person) -> None:
    change(alice.organization, requests_per_minute=1)
    statuses = [call("HEAD", MODELS, headers=alice.headers).status_code for _ in range(2)]
    assert statuses == [200, 429]


def test_a_body_that_is_refused_takes_no_image(alice: Person) -> None:
    assert remaining(generate(alice, n=5), "images") == 300


def test_too_many_requests(alice: Person) -> None:
    change(alice.organization, requests_per_minute=2)
    answers = [get(alice) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert verdict(answers[-1]) == LIMITED
    # It counts down from 30 while the calls are made.
    assert int(answers[-1]["Retry-After"]) in range(21, 31)
    assert "x-should-retry" not in answers[-1]
    assert has_limit_headers(answers[-1])
    assert remaining(answers[-1]) == 0
    assert answers[-1]["x-ratelimit-limit-requests"] == "2"
    assert "Rate limit" in error_of(answers[-1])["message"]


def test_a_rate_limit_status_that_a_refusal_carries_is_told(alice: Person, monkeypatch) -> None:
    rate_limit_status = rate_limits.RateLimitStatus(Level(77, 7, 0.0), None)

    def refuse(*_: Any) -> None:
        refusal = ModelNotFound()
        refusal.rate_limit_status = rate_limit_status  # type: ignore[attr-defined]
        raise refusal

    monkeypatch.setattr(generations, "describe", refuse)
    assert remaining(get(alice)) == 7


def test_headers_that_cannot_be_had_cost_no_answer(alice: Person, monkeypatch, caplog) -> None:
    def broken(_status: rate_limits.RateLimitStatus) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rate_limits.RateLimitStatus, "headers", broken)
    answer = get(alice)
    assert answer.status_code == 200
    assert not has_limit_headers(answer)
    assert "rate limit headers left out" in caplog.messages


def test_browsers_may_read_the_headers(alice: Person) -> None:
    exposed = get(alice)["Access-Control-Expose-Headers"].split(", ")
    assert set(NAMES) <= set(exposed) == set(EXPOSED)


# --- scopes and networks --------------------------------------------------------------------------


def test_a_key_without_the_scope_is_refused_before_the_body(alice: Person) -> None:
    change(alice.key, may_generate=False)
    answer = call("POST", GENERATIONS, b"{", content_type="text/plain", headers=alice.headers)
    assert verdict(answer) == NO_PERMISSION
    assert "'generate'" in error_of(answer)["message"]
    assert has_limit_headers(answer)
    assert get(alice).status_code == 200


@pytest.mark.parametrize(
    ("scope", "field"), [("generate", "may_generate"), ("usage.read", "may_read_usage")]
)
def test_each_scope_has_a_field(alice: Person, monkeypatch, scope: str, field: str) -> None:
    monkeypatch.setattr(generations.ModelList, "scope", scope)
    assert get(alice).status_code == 200
    change(alice.key, **{field: False})
    assert verdict(get(alice)) == NO_PERMISSION


@pytest.mark.parametrize(
    ("peer", "status"),
    [("203.0.113.7", 200), ("::ffff:203.0.113.7", 200), ("203.0.114.7", 403), ("", 403)],
)
def test_a_key_may_be_bound_to_networks(alice: Person, peer: str, status: int) -> None:
    change(alice.key, allowed_networks=["2001:db8::/32", "203.0.113.0/24"])
    answer = get(alice, REMOTE_ADDR=peer)
    assert answer.status_code == status
    assert has_limit_headers(answer)


def test_a_refusal_for_the_network_says_where_the_call_came_from(alice: Person) -> None:
    change(alice.key, allowed_networks=["10.0.0.0/8"])
    answer = get(alice, REMOTE_ADDR="203.0.113.7")
    assert verdict(answer) == NO_PERMISSION
    assert "203.0.113.7" in error_of(answer)["message"]


def test_a_network_cannot_be_claimed_in_a_header(alice: Person, settings) -> None:
    change(alice.key, allowed_networks=["10.0.0.0/8"])
    forged = {"REMOTE_ADDR": "203.0.113.7", "HTTP_X_FORWARDED_FOR": "10.0.0.1"}
    assert get(alice, **forged).status_code == 403
    settings.TRUSTED_PROXIES = 1
    assert get(alice, **forged).status_code == 200
    forged["HTTP_X_FORWARDED_FOR"] = "10.0.0.1, 203.0.113.7"
    assert get(alice, **forged).status_code == 403


def test_networks_that_nobody_can_read_let_nobody_in(alice: Person) -> None:
    change(alice.key, allowed_networks=["the office"])
    assert get(alice).status_code == 403


def test_a_refused_call_takes_nothing(alice: Person) -> None:
    change(alice.key, allowed_networks=["10.0.0.0/8"])
    change(alice.organization, requests_per_minute=1)
    assert [get(alice).status_code for _ in range(3)] == [403] * 3
    assert remaining(get(alice)) == 1


# --- GET /v1/key ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [KEY, f"{KEY}/"])
def test_a_key_looks_at_itself(alice: Person, path: str) -> None:
    answer = get(alice, path)
    assert answer.status_code == 200
    assert has_limit_headers(answer)
    month = {"month": f"{timezone.now():%Y-%m}", "cap_micros": None, "remaining_micros": None}
    nothing = month | {"spent_micros": 0, "pending_micros": 0}
    no_limit = dict.fromkeys(("requests_per_minute", "images_per_minute", "images_in_flight"))
    assert answer.json() == {
        "object": "api_key",
        "name": "Laptop",
        "hint": f"{alice.secret[:8]}…{alice.secret[-4:]}",
        "created": int(alice.key.created_at.timestamp()),
        "expires_at": None,
        "scopes": ["generate", "usage.read"],
        "allowed_networks": [],
        "settings": {
            "default_response_format": "b64_json",
            "model_aliases": {},
            "nearest_size": False,
        },
        "limits": {
            "key": no_limit,
            "organization": {
                "requests_per_minute": 600,
                "images_per_minute": 300,
                "images_in_flight": 64,
            },
        },
        "remaining": {"requests": 599, "images": 300},
        "in_flight": {"key": 0, "organization": 0},
        "spend": {"key": nothing, "organization": nothing},
        "credit_remaining_micros": 500_000,
    }
    assert alice.secret not in answer.content.decode()


def test_it_tells_limits_caps_and_spending_of_this_month(alice: Person) -> None:
    month = budgets.this_month()
    whose = {"organization": alice.organization, "month": month}
    Budget.objects.create(**whose, posted_micros=90_000, pending_micros=20_000, in_flight=1)
    Budget.objects.create(**whose, api_key=alice.key, posted_micros=40_000)
    change(alice.organization, monthly_cap_micros=100_000)
    expires = datetime(2100, 1, 1, tzinfo=UTC)
    change(alice.key, monthly_cap_micros=50_000, images_in_flight=2, expires_at=expires)
    told = get(alice, KEY).json()
    assert told["expires_at"] == int(expires.timestamp())
    assert told["limits"]["key"]["images_in_flight"] == 2
    assert told["in_flight"] == {"key": 0, "organization": 1}
    assert told["spend"]["key"] == {
        "month": f"{month:%Y-%m}",
        "cap_micros": 50_000,
        "spent_micros": 40_000,
        "pending_micros": 0,
        "remaining_micros": 10_000,
    }
    # The cap was lowered after the money was spent.
    assert told["spend"]["organization"]["remaining_micros"] == 0


def test_what_was_spent_last_month_is_not_this_months(alice: Person) -> None:
    last = budgets.this_month() - timedelta(days=1)
    Budget.objects.create(
        organization=alice.organization,
        month=date(last.year, last.month, 1),
        posted_micros=90_000,
        pending_micros=20_000,
        in_flight=3,
    )
    told = get(alice, KEY).json()
    assert told["spend"]["organization"]["spent_micros"] == 0
    assert told["spend"]["organization"]["pending_micros"] == 0
    assert told["in_flight"]["organization"] == 3


def test_a_rotated_key_tells_what_its_line_has_spent(alice: Person, bob: Person) -> None:
    month = budgets.this_month()
    Budget.objects.create(
        organization=alice.organization, api_key=alice.key, month=month, posted_micros=7
    )
    change(bob.key, root=alice.key)
    assert get(bob, KEY).json()["spend"]["key"]["spent_micros"] == 7


def test_lifted_limits_are_null(alice: Person) -> None:
    change(alice.organization, limits_lifted=True)
    answer = get(alice, KEY)
    assert set(answer.json()["limits"]["organization"].values()) == {None}
    assert answer.json()["remaining"] == {"requests": None, "images": None}
    assert remaining(answer, "images") == 1_000_000


def test_a_key_without_any_scope_may_still_look(alice: Person) -> None:
    change(alice.key, may_generate=False, may_read_usage=False)
    assert get(alice, KEY).json()["scopes"] == []


def test_nobody_looks_without_a_key(db: None) -> None:
    assert call("GET", KEY).status_code == 401
    assert call("POST", KEY).status_code == 405
