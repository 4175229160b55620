"""Requests and images a minute: of an organization, of a rotation family of keys, and both at once."""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from accounts.keys import keys
from accounts.limits import buckets, circuits, rate_limits, redis_buckets
from accounts.limits.gcra import Level
from accounts.limits.local_buckets import LocalBuckets
from accounts.limits.rate_limits import (
    RateLimitExceeded,
    RateLimitStatus,
    duration,
    give_back,
    look,
    take,
)
from accounts.models import ApiKey, Organization
from tests.at_once import at_once
from tests.cast import Person

WIDE = Level(600, 600, 0.0)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch) -> Iterator[None]:
    """Neither an outage nor a count of one test reaches the next."""
    monkeypatch.setattr(circuits, "redis_circuit", circuits.Circuit())
    monkeypatch.setattr(buckets, "local", LocalBuckets())
    yield
    redis_buckets.client.cache_clear()


def limit(thing: Organization | ApiKey, **limits: Any) -> None:
    for name, value in limits.items():
        setattr(thing, name, value)
    thing.save()


def caller(person: Person) -> dict:
    return {"organization": person.organization, "api_key": person.key}


def refusal_of(call) -> RateLimitExceeded:
    with pytest.raises(RateLimitExceeded) as caught:
        call()
    return caught.value


def test_an_image_takes_a_request_and_an_image(alice: Person) -> None:
    rate_limit_status = take(**caller(alice), requests=1, images=1)
    assert (rate_limit_status.requests.limit, rate_limit_status.requests.remaining) == (600, 599)
    assert (rate_limit_status.images.limit, rate_limit_status.images.remaining) == (300, 299)
    assert rate_limit_status.images.seconds_until_full == pytest.approx(0.2, abs=0.01)


def test_a_request_alone_takes_no_image(alice: Person) -> None:
    take(**caller(alice))
    assert look(**caller(alice)).images.remaining == 300


def test_a_look_takes_nothing(alice: Person) -> None:
    assert (
        look(**caller(alice))
        == look(**caller(alice))
        == RateLimitStatus(WIDE, Level(300, 300, 0.0))
    )


def test_a_burst_gets_exactly_the_limit_and_the_rest_takes_nothing(alice: Person) -> None:
    limit(alice.organization, images_per_minute=12)
    outcomes = at_once(*[partial(take, **caller(alice), images=1)] * 32)
    assert sum(isinstance(outcome, RateLimitStatus) for outcome in outcomes) == 12
    assert sum(isinstance(outcome, RateLimitExceeded) for outcome in outcomes) == 20
    # 600 refill ten in a second, so a slow run has some of the twelve back.
    assert look(**caller(alice)).requests.remaining >= 588


def test_two_keys_share_the_limit_of_their_organization(alice: Person, bob: Person) -> None:
    limit(alice.organization, requests_per_minute=2)
    bob.key.organization.refresh_from_db()
    take(**caller(alice))
    take(organization=alice.organization, api_key=bob.key)
    refusal = refusal_of(partial(take, **caller(alice)))
    assert "your organization may send 2 requests a minute" in str(refusal)


def test_strangers_do_not_share(alice: Person, charlie: Person) -> None:
    limit(alice.organization, requests_per_minute=1)
    take(**caller(alice))
    refusal_of(partial(take, **caller(alice)))
    assert take(**caller(charlie)).requests.remaining == 599


def test_a_key_with_a_limit_of_its_own_leaves_the_others_alone(alice: Person, bob: Person) -> None:
    limit(alice.organization, images_per_minute=30)
    limit(alice.key, images_per_minute=1)
    assert take(**caller(alice), images=1).images == Level(1, 0, 60.0)
    refusal = refusal_of(partial(take, **caller(alice), images=1))
    assert "this API key may send 1 images a minute" in str(refusal)
    assert refusal.rate_limit_status.images.limit == 1
    assert take(**caller(bob), images=1).images.remaining == 28


def test_a_rotated_key_has_no_second_bucket(alice: Person) -> None:
    limit(alice.key, requests_per_minute=1)
    rotated, _ = keys.mint(organization=alice.organization, name="Laptop, rotated")
    limit(rotated, root=alice.key, requests_per_minute=1)
    take(**caller(alice))
    refusal_of(partial(take, organization=alice.organization, api_key=rotated))


def test_a_key_may_not_have_more_than_its_organization(alice: Person) -> None:
    limit(alice.key, requests_per_minute=10_000)
    limit(alice.organization, requests_per_minute=1)
    assert take(**caller(alice)).requests.limit == 1
    refusal_of(partial(take, **caller(alice)))


def test_a_refusal_says_which_limit_and_when_to_come_back(alice: Person) -> None:
    limit(alice.organization, images_per_minute=2, requests_per_minute=60)
    take(**caller(alice), images=2)
    refusal = refusal_of(partial(take, **caller(alice), images=1))
    assert (refusal.status, refusal.type) == (429, "rate_limit_error")
    assert (refusal.code, refusal.param) == ("rate_limit_exceeded", None)
    assert refusal.headers == {"Retry-After": "30"}
    assert str(refusal) == (
        "Rate limit reached: your organization may send 2 images a minute. "
        "Please try again in 30 seconds."
    )
    assert refusal.rate_limit_status.images.remaining == 0
    assert refusal.rate_limit_status.requests.remaining == 59


def test_who_obeys_retry_after_gets_through(alice: Person) -> None:
    limit(alice.organization, requests_per_minute=60)
    take(**caller(alice), requests=60)
    refusal = refusal_of(partial(take, **caller(alice)))
    seconds = int(refusal.headers["Retry-After"])
    assert seconds == 1
    time.sleep(seconds)
    take(**caller(alice))


def test_a_retry_after_never_exceeds_a_minute(alice: Person) -> None:
    limit(alice.organization, images_per_minute=1)
    take(**caller(alice), images=1)
    assert refusal_of(partial(take, **caller(alice), images=1)).headers == {"Retry-After": "60"}
    # No minute ever holds so many.
    assert refusal_of(partial(take, **caller(alice), images=9)).headers == {"Retry-After": "60"}


def test_what_is_given_back_can_be_taken_again(alice: Person) -> None:
    limit(alice.organization, images_per_minute=1, requests_per_minute=1)
    take(**caller(alice), images=1)
    assert give_back(**caller(alice), images=1).images.remaining == 1
    assert look(**caller(alice)).requests.remaining == 0
    assert give_back(**caller(alice), requests=1, images=1) == RateLimitStatus(
        Level(1, 1, 0.0), Level(1, 1, 0.0)
    )
    take(**caller(alice), images=1)


def test_the_playground_has_the_limits_of_the_organization(alice: Person) -> None:
    limit(alice.organization, images_per_minute=2)
    limit(alice.key, images_per_minute=1)
    for _ in range(2):
        take(organization=alice.organization, api_key=None, images=1)
    refusal_of(partial(take, organization=alice.organization, api_key=None, images=1))


def test_lifted_limits_are_no_limits_and_ask_no_redis(alice: Person, settings, caplog) -> None:
    limit(alice.organization, limits_lifted=True)
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    redis_buckets.client.cache_clear()
    rate_limit_status = take(**caller(alice), requests=5_000, images=5_000)
    assert rate_limit_status == RateLimitStatus(None, None)
    assert not caplog.records
    for kind in ("requests", "images"):
        assert rate_limit_status.headers()[f"x-ratelimit-limit-{kind}"] == "1000000"
        assert rate_limit_status.headers()[f"x-ratelimit-remaining-{kind}"] == "1000000"
        assert rate_limit_status.headers()[f"x-ratelimit-reset-{kind}"] == "0s"


def test_a_key_keeps_its_own_limit_where_the_organization_has_none(alice: Person) -> None:
    limit(alice.organization, limits_lifted=True)
    limit(alice.key, images_per_minute=1)
    take(**caller(alice), images=1)
    refusal_of(partial(take, **caller(alice), images=1))
    assert look(**caller(alice)).requests is None


def test_the_headers_tell_the_tighter_of_both(alice: Person) -> None:
    limit(alice.organization, requests_per_minute=100)
    limit(alice.key, requests_per_minute=50, images_per_minute=1_000)
    take(**caller(alice), requests=1)
    headers = take(**caller(alice), requests=0, images=1).headers()
    assert headers["x-ratelimit-limit-requests"] == "50"
    assert headers["x-ratelimit-remaining-requests"] == "49"
    assert headers["x-ratelimit-limit-images"] == "300"
    assert headers["x-ratelimit-remaining-images"] == "299"
    assert headers["x-ratelimit-reset-images"].endswith("ms")
    assert len(headers) == 6


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0s"),
        (0.0001, "1ms"),
        (0.35, "350ms"),
        (0.9995, "1s"),
        (1.0, "1s"),
        (11.2, "12s"),
        (59.5, "1m0s"),
        (60, "1m0s"),
        (90.1, "1m31s"),
    ],
)
def test_a_time_is_written_as_openai_does(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_without_redis_a_small_limit_holds(alice: Person, settings) -> None:
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    redis_buckets.client.cache_clear()
    for _ in range(rate_limits.IMAGES_ALONE):
        take(**caller(alice), images=1)
    refusal = refusal_of(partial(take, **caller(alice), images=1))
    assert refusal.headers == {"Retry-After": "2"}
    assert refusal.rate_limit_status.images == replace(
        refusal.rate_limit_status.images, limit=rate_limits.IMAGES_ALONE, remaining=0
    )
