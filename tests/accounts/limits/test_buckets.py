"""Token buckets: in Redis, and in one process while Redis is away. Both must count alike."""

import logging
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial

import pytest

from accounts.limits import buckets, circuits, local_buckets, redis_buckets
from accounts.limits.buckets import give_back, take
from accounts.limits.gcra import Bucket, Level, TakeResult
from accounts.limits.local_buckets import LocalBuckets
from tests.at_once import at_once

NOWHERE = "unix:///nowhere/redis.sock"


def bucket(per_minute: int, name: str = "test") -> Bucket:
    return Bucket(name, per_minute, per_minute)


def granted(outcome: TakeResult) -> bool:
    return outcome.refused is None


def shift(seconds: float, *names: str) -> None:
    """As if that much time had passed for these buckets."""
    for name in names or ("test",):
        key = redis_buckets.KEY + name
        if full_at := redis_buckets.client().get(key):
            redis_buckets.client().set(key, int(full_at) - int(seconds * 1_000_000), keepttl=True)
        if name in buckets.local._full_at:
            buckets.local._full_at[name] -= int(seconds * 1_000_000)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch) -> Iterator[None]:
    """Neither an outage nor a count of one test reaches the next."""
    monkeypatch.setattr(circuits, "redis_circuit", circuits.Circuit())
    monkeypatch.setattr(buckets, "local", LocalBuckets())
    yield
    redis_buckets.client.cache_clear()


@pytest.fixture
def redis_away(settings) -> None:
    """From here on, until the test changes the address."""
    settings.REDIS_URL = NOWHERE
    redis_buckets.client.cache_clear()


@pytest.fixture(params=["redis", "alone"])
def either(request, monkeypatch) -> None:
    """The test runs twice: once on Redis, once in this process's memory."""
    if request.param == "alone":
        monkeypatch.setattr(circuits.redis_circuit, "allow_request", lambda: False)


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns after a microsecond instead of five milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("per_minute", [1, 7, 60, 97])
def test_a_full_minute_may_come_at_once_and_no_more(either, per_minute: int) -> None:
    for _ in range(per_minute):
        assert granted(take([(bucket(per_minute), 1)]))
    last = take([(bucket(per_minute), 1)])
    assert last.refused == 0
    assert last.wait_seconds == pytest.approx(60 / per_minute, abs=0.3)
    assert last.levels[0].remaining == 0


def test_it_refills_evenly(either) -> None:
    take([(bucket(60), 60)])
    shift(2.5)
    outcome = take([(bucket(60), 2)])
    assert granted(outcome)
    assert outcome.levels[0].remaining == 0
    assert outcome.levels[0].seconds_until_full == pytest.approx(59.5, abs=0.3)
    assert take([(bucket(60), 1)]).wait_seconds == pytest.approx(0.5, abs=0.3)


def test_it_never_holds_more_than_a_minute(either) -> None:
    take([(bucket(60), 1)])
    shift(3_600)
    assert not granted(take([(bucket(60), 61)]))
    assert granted(take([(bucket(60), 60)]))


def test_the_wait_is_exact(either) -> None:
    take([(bucket(60), 60)])
    wait = take([(bucket(60), 5)]).wait_seconds
    assert 4.5 < wait <= 5
    shift(wait)
    assert granted(take([(bucket(60), 5)]))


def test_all_or_nothing(either) -> None:
    wide, narrow = bucket(20, "wide"), bucket(1, "narrow")
    assert granted(take([(wide, 1), (narrow, 1)]))
    for _ in range(5):
        outcome = take([(wide, 1), (narrow, 1)])
        assert outcome.refused == 1
        assert [level.remaining for level in outcome.levels] == [19, 0]
    assert take([(wide, 0)]).levels[0].remaining == 19


def test_the_longest_wait_is_told(either) -> None:
    fast, slow = bucket(60, "fast"), bucket(2, "slow")
    take([(fast, 60), (slow, 2)])
    outcome = take([(fast, 1), (slow, 1)])
    assert outcome.refused == 1
    assert outcome.wait_seconds == pytest.approx(30, abs=0.3)
    shift(outcome.wait_seconds, "fast", "slow")
    assert granted(take([(fast, 1), (slow, 1)]))


def test_a_look_takes_nothing_and_an_empty_bucket_may_be_looked_at(either) -> None:
    assert take([(bucket(5), 0)]).levels == [Level(5, 5, 0.0)]
    take([(bucket(5), 5)])
    for _ in range(3):
        assert granted(take([(bucket(5), 0)]))
    shift(12)
    assert take([(bucket(5), 0)]).levels[0].remaining == 1


def test_what_is_given_back_can_be_taken_again(either) -> None:
    take([(bucket(3), 3)])
    assert give_back([(bucket(3), 2)]).levels[0].remaining == 2
    assert granted(take([(bucket(3), 2)]))
    assert not granted(take([(bucket(3), 1)]))


def test_a_full_bucket_does_not_overflow(either) -> None:
    take([(bucket(3), 1)])
    assert give_back([(bucket(3), 50)]).levels == [Level(3, 3, 0.0)]
    assert not granted(take([(bucket(3), 4)]))


def test_a_limit_that_changes_keeps_its_share(either) -> None:
    take([(bucket(60), 30)])
    assert take([(bucket(600), 0)]).levels[0].remaining == pytest.approx(300, abs=3)


def test_a_moment_from_another_clock_costs_a_minute_at_most(either) -> None:
    take([(bucket(60), 1)])
    shift(-86_400)
    assert take([(bucket(60), 1)]).wait_seconds <= 1
    shift(86_460)
    assert granted(take([(bucket(60), 1)]))


@pytest.mark.parametrize("per_minute", [0, -5])
def test_a_limit_of_nothing_grants_nothing(either, per_minute: int) -> None:
    assert not granted(take([(bucket(per_minute), 1)]))


def test_a_burst_from_many_threads_gets_exactly_the_limit(either, switching) -> None:
    wanted = [(bucket(20, "a"), 1), (bucket(40, "b"), 2)]

    def burst() -> int:
        return sum(granted(take(wanted)) for _ in range(20))

    assert sum(at_once(*[burst] * 12)) == 20


def test_keys_expire_once_their_bucket_is_full() -> None:
    take([(bucket(60), 6)])
    assert 5_000 < redis_buckets.client().pttl(f"{redis_buckets.KEY}test") <= 6_000
    give_back([(bucket(60), 6)])
    assert not redis_buckets.client().keys("*")


def test_nothing_to_count_needs_no_redis(redis_away, caplog) -> None:
    assert take([]) == TakeResult([])
    assert not caplog.records


def test_a_script_that_redis_forgot_is_sent_again() -> None:
    take([(bucket(5), 1)])
    redis_buckets.client().script_flush()
    assert take([(bucket(5), 1)]).levels[0].remaining == 3


def test_without_redis_the_small_limit_holds(redis_away) -> None:
    small = Bucket("test", 600, 4)
    assert [granted(take([(small, 1)])) for _ in range(5)] == [True] * 4 + [False]
    assert take([(small, 0)]).levels[0].limit == 4


def test_without_redis_a_limit_below_the_small_one_stays(redis_away) -> None:
    assert take([(Bucket("test", 2, 60), 0)]).levels[0].limit == 2


def test_an_outage_is_logged_once_and_so_is_its_end(settings, redis_away, caplog) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        take([(bucket(5), 1)])
        # As if the pause were over.
        circuits.redis_circuit._next_try = 0.0
    settings.REDIS_URL = settings.CELERY_BROKER_URL.replace("redis+socket", "unix")
    redis_buckets.client.cache_clear()
    for _ in range(2):
        assert take([(bucket(5), 1)]).levels[0].limit == 5
    logged = [(record.levelname, record.message) for record in caplog.records]
    assert logged == [
        ("WARNING", "redis away: each process limits by itself, and bells and wake-ups wait"),
        ("INFO", "redis is back"),
    ]


def test_one_caller_in_two_seconds_waits_for_a_redis_that_hangs(settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        redis_buckets.client.cache_clear()
        first, others = [_timed(lambda: take([(bucket(100), 1)])) for _ in range(2)]
        assert first < 1.2
        assert others < 0.3
        circuits.redis_circuit._next_try = 0.0
        waited = at_once(*[partial(_timed, lambda: take([(bucket(100), 1)]))] * 8)
        assert sum(seconds > 0.3 for seconds in waited) == 1
        redis_buckets.client().close()


def _timed(call) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_a_process_remembers_a_bounded_number_of_buckets(redis_away, monkeypatch) -> None:
    monkeypatch.setattr(local_buckets, "BUCKETS_KEPT", 10)
    monkeypatch.setattr(local_buckets, "FORGOTTEN_AT_ONCE", 2)
    used_up = bucket(5, "address:victim")
    take([(used_up, 5)])
    for number in range(50):
        take([(bucket(5, f"address:{number}"), 1), (bucket(100, "organization:1"), 1)])
    assert len(buckets.local._full_at) <= 10
    left = take([(bucket(100, "organization:1"), 0)]).levels[0].remaining
    assert left == pytest.approx(50, abs=1)
    assert not granted(take([(used_up, 1)]))


def test_a_bucket_may_be_of_many_minutes(either) -> None:
    daily = Bucket("test", 8, 8, minutes=24 * 60)
    assert [granted(take([(daily, 1)])) for _ in range(9)] == [True] * 8 + [False]
    shift(3 * 3600 - 60)
    assert not granted(take([(daily, 1)]))
    shift(120)
    assert granted(take([(daily, 1)]))
    assert take([(daily, 1)]).wait_seconds == pytest.approx(3 * 3600 - 60, abs=1)


def test_the_connections_neither_wait_long_nor_try_twice() -> None:
    connection = redis_buckets.client().connection_pool.connection_kwargs
    assert connection["socket_timeout"] + connection["socket_connect_timeout"] <= 1
    assert redis_buckets.client().get_retry().get_retries() == 0


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0, 1), (0.01, 1), (1.0, 1), (1.01, 2), (59.5, 60), (600.0, 60)]
)
def test_a_retry_after_is_whole_and_between_1_and_60(seconds: float, expected: int) -> None:
    assert buckets.retry_after(seconds) == expected
