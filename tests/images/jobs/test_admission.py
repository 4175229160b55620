"""Before a job: the limits, and what a refusal gives back."""

import threading
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from django.http.response import HttpResponse
from django.utils import timezone

from accounts import callers
from accounts.callers import InsufficientPermissions, NotAMember
from accounts.keys import keys
from accounts.keys.authentication import InvalidApiKey
from accounts.limits import rate_limits
from accounts.limits.rate_limits import RateLimitExceeded, RateLimitStatus
from accounts.models import ApiKey, Membership, User
from billing.ledger.holds import InsufficientQuota, SpendLimitReached, TooManyInFlight
from billing.models import Budget, Hold
from images.catalog import FLUX_SCHNELL
from images.jobs import admission, generation
from images.jobs.generation_request import IdempotentCall
from images.models import Generation
from images.queue import estimates, signals
from tests.at_once import at_once
from tests.calls import BODY, GENERATIONS, call
from tests.cast import Person
from tests.images import make
from tests.images.make import PRICE, books


@pytest.fixture(autouse=True)
def _slow_refill(settings: Any) -> None:
    """A token comes back in a second, so that none does between two looks of a test."""
    settings.REQUESTS_PER_MINUTE = settings.IMAGES_PER_MINUTE = 60


def ask(person: Person, **asked: Any) -> admission.Admitted:
    fields: dict[str, Any] = {
        "model": FLUX_SCHNELL.id,
        "prompt": "a red fox",
        "size": "512x512",
        "seed": 1,
    }
    fields |= {"organization": person.organization, "api_key": person.key, "request_id": "req"}
    return make.requested(**fields | asked)


def left(person: Person) -> tuple[int, int]:
    """(requests, images) that the person may still send this minute."""
    rate_limit_status: RateLimitStatus = rate_limits.look(
        organization=person.organization, api_key=person.key
    )
    return rate_limit_status.requests.remaining, rate_limit_status.images.remaining


def limit(person: Person, **limits: int) -> None:
    for name, value in limits.items():
        setattr(person.organization, name, value)
    person.organization.save()
    person.key.refresh_from_db()


def post(person: Person) -> HttpResponse:
    return call("POST", GENERATIONS, BODY, headers=person.headers)


def test_an_image_takes_one_of_each(alice: Person) -> None:
    requests, images = left(alice)
    ask(alice)
    assert left(alice) == (requests - 1, images - 1)


def test_who_cannot_pay_loses_no_token(unfunded: Person) -> None:
    before = left(unfunded)
    with pytest.raises(InsufficientQuota):
        ask(unfunded)
    assert left(unfunded) == before


def test_a_spend_limit_is_a_lack_of_money_and_is_remembered(alice: Person) -> None:
    limit(alice, monthly_cap_micros=PRICE)
    ask(alice)
    before = left(alice)
    with pytest.raises(SpendLimitReached):
        ask(alice)
    assert left(alice) == before
    assert Budget.objects.get(organization=alice.organization, api_key=None).exhausted_at


def test_too_many_in_flight_gives_the_image_back_and_not_the_request(alice: Person) -> None:
    limit(alice, images_in_flight=1)
    ask(alice)
    requests, images = left(alice)
    with pytest.raises(TooManyInFlight) as refused:
        ask(alice)
    assert left(alice) == (requests - 1, images)
    assert (refused.value.status, refused.value.code) == (429, "rate_limit_exceeded")
    assert "Rate limit" in str(refused.value)


@pytest.mark.parametrize(
    ("seconds", "retry_after"), [(None, "5"), (0.2, "1"), (3.0, "4"), (300.0, "60")]
)
def test_in_flight_says_when_a_place_is_free(
    alice: Person, seconds: float | None, retry_after: str
) -> None:
    limit(alice, images_in_flight=1)
    ask(alice)
    worker = signals.LiveWorker("gpu", FLUX_SCHNELL.id, "drawing", "blank", seconds)
    signals.heartbeat(worker)
    estimates.clear_forecasts()
    with pytest.raises(TooManyInFlight) as refused:
        ask(alice, deadline_seconds=1_000)
    assert refused.value.headers == {"Retry-After": retry_after}


def test_in_flight_waits_for_the_rate_limit_too(alice: Person) -> None:
    limit(alice, images_in_flight=1, requests_per_minute=2)
    ask(alice)
    with pytest.raises(TooManyInFlight) as refused:
        ask(alice)
    assert refused.value.headers == {"Retry-After": "30"}


def test_a_key_has_places_of_its_own(alice: Person, bob: Person) -> None:
    alice.key.images_in_flight = 1
    alice.key.save()
    ask(alice)
    with pytest.raises(TooManyInFlight, match="this API key"):
        ask(alice)
    ask(bob)


def test_the_rate_limit_stands_before_the_till(alice: Person) -> None:
    limit(alice, images_per_minute=1)
    ask(alice)
    with pytest.raises(RateLimitExceeded):
        ask(alice)
    assert books(alice) == (PRICE, 0)


def test_a_refusal_carries_the_headers_of_the_limits(unfunded: Person) -> None:
    answer = post(unfunded)
    assert answer.status_code == 429
    assert answer["x-should-retry"] == "false"
    assert answer["x-ratelimit-remaining-images"] == answer["x-ratelimit-limit-images"] == "60"
    assert "Retry-After" not in answer


@pytest.mark.django_db(transaction=True)
def test_a_burst_never_has_more_in_flight_than_it_may(alice: Person) -> None:
    limit(alice, images_in_flight=3)
    answers = at_once(*[lambda: ask(alice)] * 10)
    admitted = [answer for answer in answers if isinstance(answer, admission.Admitted)]
    refused = [answer for answer in answers if isinstance(answer, TooManyInFlight)]
    assert (len(admitted), len(refused)) == (3, 7)
    assert Hold.objects.pending().count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_place_is_free_again_however_the_job_ends(alice: Person) -> None:
    limit(alice, images_in_flight=1)
    make.succeeded(alice)
    job = ask(alice).job
    generation.expire(job)
    assert ask(alice).job != job


# What may change between the look at a key and the end of the body that it came with.
STOPPED: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "revoked": ({"revoked_at": timezone.now()}, InvalidApiKey),
    "suspended": ({"suspended_at": timezone.now()}, InvalidApiKey),
    "expired": ({"expires_at": timezone.now() - timedelta(seconds=1)}, InvalidApiKey),
    "without the scope": ({"may_generate": False}, InsufficientPermissions),
    "elsewhere": ({"allowed_networks": ["203.0.113.0/24"]}, InsufficientPermissions),
}


@pytest.mark.parametrize("how", STOPPED)
@pytest.mark.parametrize("key", [None, "k"])
def test_a_key_that_stopped_since_it_was_looked_at_is_refused_without_a_trace(
    alice: Person, how: str, key: str | None
) -> None:
    changes, refusal = STOPPED[how]
    before = left(alice)
    ApiKey.objects.filter(pk=alice.key.pk).update(**changes)
    call_ = IdempotentCall("digest", key)
    with pytest.raises(refusal):
        ask(alice, call=call_, address=ip_address("198.51.100.7"))
    assert left(alice) == before
    assert not Hold.objects.exists()
    assert not Generation.objects.exists()


@pytest.mark.parametrize("how", STOPPED)
@pytest.mark.parametrize("is_retry", [False, True])
def test_a_key_that_stopped_is_not_given_an_earlier_calls_image(
    alice: Person, how: str, *, is_retry: bool
) -> None:
    changes, refusal = STOPPED[how]
    call_ = IdempotentCall("digest", None if is_retry else "k", retry_count=int(is_retry))
    earlier = ask(alice, call=call_).job
    ApiKey.objects.filter(pk=alice.key.pk).update(**changes)
    with pytest.raises(refusal):
        ask(alice, call=call_)
    assert make.now(earlier).joined_at is None
    # Nor is it told that the name was used for something else.
    with pytest.raises(refusal):
        ask(alice, call=IdempotentCall("another", call_.key, retry_count=int(is_retry)))


def test_a_key_works_from_its_networks(alice: Person) -> None:
    ApiKey.objects.filter(pk=alice.key.pk).update(allowed_networks=["203.0.113.0/24"])
    assert ask(alice, address=ip_address("203.0.113.5")).job


@pytest.mark.parametrize("how", ["deactivated", "removed"])
def test_who_is_no_member_any_more_draws_nothing_in_the_playground(alice: Person, how: str) -> None:
    if how == "deactivated":
        User.objects.filter(pk=alice.user.pk).update(is_active=False)
    else:
        Membership.objects.filter(user=alice.user).delete()
    before = left(alice)
    with pytest.raises(NotAMember):
        ask(alice, api_key=None, user=alice.user)
    assert left(alice) == before
    assert not Hold.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_nothing_is_admitted_after_a_revocation_has_returned(
    alice: Person, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is locked from the look at it to the COMMIT."""
    settings.IMAGES_PER_MINUTE = settings.REQUESTS_PER_MINUTE = 10_000
    looked, revoked = threading.Event(), threading.Event()
    look = callers.key_now

    def look_slowly(**asked: Any) -> ApiKey:
        row = look(**asked)
        looked.set()
        # Nobody can revoke it now; where somebody could, this would be admitted after that.
        assert not revoked.wait(0.5)
        return row

    def revoke() -> int:
        looked.wait()
        keys.revoke(alice.key)
        revoked.set()
        return Hold.objects.count()

    monkeypatch.setattr(callers, "key_now", look_slowly)
    admitted, held_at_revocation = at_once(lambda: ask(alice), revoke)
    assert isinstance(admitted, admission.Admitted), admitted
    assert held_at_revocation == Hold.objects.count() == 1
