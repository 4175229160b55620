"""Token buckets: how often something may happen in a minute, kept in Redis for all processes at once.

A bucket holds a minute's worth (or that of more minutes, where it says so) and refills evenly. What is stored is one moment, the one at which it
will be full again (GCRA, as in ITU-T I.371), so that an untouched bucket is no key at all. While Redis
is away each process goes on by itself with smaller buckets.
"""

import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from heapq import nsmallest

import redis
from django.conf import settings
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

KEY = "ecohash:bucket:"
# Each step waits at most this long for Redis, and nobody asks it again for the pause after a failure.
REDIS_TIMEOUT_SECONDS = 0.5
PAUSE_SECONDS = 2
# What one process remembers by itself, some 10 MB, and what it forgets at once where that is not enough.
BUCKETS_ALONE = 50_000
FORGOTTEN_AT_ONCE = 5_000
MINUTE = 60_000_000
SECOND = 1_000_000

# Times are whole microseconds, well within the 2^53 of Lua's numbers. Each bucket has a key and three
# arguments: the interval between two tokens, its size, and the tokens asked for (below zero: given back).
# A stored moment further away than a full minute can only come from another clock.
STEP = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local full, refused, wait = {}, 0, 0
for i, key in ipairs(KEYS) do
  local interval, size = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  local tokens = tonumber(ARGV[3 * i])
  local latest = now + interval * size
  local before = math.min(math.max(tonumber(redis.call('GET', key) or now), now), latest)
  local after = math.max(before + tokens * interval, now)
  if tokens > 0 and after - latest > wait then
    refused, wait = i, after - latest
  end
  full[i] = {before - now, after - now}
end
local answer = {refused, wait}
for i, key in ipairs(KEYS) do
  local after = full[i][2]
  if refused > 0 then
    after = full[i][1]
  elseif tonumber(ARGV[3 * i]) ~= 0 then
    if after > 0 then
      redis.call('SET', key, string.format('%.0f', now + after), 'PX', math.ceil(after / 1000))
    else
      redis.call('DEL', key)
    end
  end
  answer[i + 2] = after
end
return answer
"""


@dataclass(frozen=True)
class Bucket:
    """Something that is counted: `per_minute_alone` is what one process allows while Redis is away.

    With `minutes` above 1 both figures are for that many minutes.
    """

    name: str
    per_minute: int
    per_minute_alone: int
    minutes: int = 1


@dataclass(frozen=True)
class Level:
    """How full a bucket is: whole tokens, and the seconds until none is missing."""

    limit: int
    remaining: int
    seconds_until_full: float


@dataclass(frozen=True)
class TakeResult:
    """What a step found: a level for each bucket, in the order of asking.

    `refused` is the place of the bucket that keeps the caller waiting longest, None where all had
    enough; after `wait_seconds` every bucket has what was asked of it, if nobody else takes it.
    """

    levels: list[Level]
    refused: int | None = None
    wait_seconds: float = 0.0


Wanted = Sequence[tuple[Bucket, int]]


def take(wanted: Wanted) -> TakeResult:
    """Take that many tokens from each bucket, or none from any; zero tokens only look.

    More tokens than a bucket can hold are never granted. Nothing is raised: with Redis away the
    answer is this process's own.
    """
    if not wanted:
        return TakeResult([])
    if circuit.may_try():
        try:
            outcome = _take_from_redis(wanted)
        except redis.RedisError as error:
            circuit.failed(error)
        else:
            circuit.worked()
            return outcome
    return alone.take(wanted)


def give_back(wanted: Wanted) -> TakeResult:
    """Return tokens that were taken for nothing; a full bucket stays full."""
    return take([(bucket, -tokens) for bucket, tokens in wanted])


def retry_after(seconds: float) -> int:
    """A wait as a Retry-After: whole seconds from 1 to 60, for some clients obey no other."""
    return min(max(math.ceil(seconds), 1), 60)


@cache
def client() -> redis.Redis:
    """This process's connections for limits: a caller stands behind each, so none waits long or tries twice."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        # Redis(...) without a URL would try ten times by default, for 15 seconds.
        retry=Retry(NoBackoff(), 0),
    )


def _take_from_redis(wanted: Wanted) -> TakeResult:
    arguments: list[int] = []
    for bucket, tokens in wanted:
        arguments += [_interval(bucket.per_minute, bucket.minutes), bucket.per_minute, tokens]
    step = client().register_script(STEP)
    refused, wait, *until_full = step([KEY + bucket.name for bucket, _ in wanted], arguments)
    return TakeResult(
        levels=[
            _level(bucket.per_minute, bucket.minutes, int(missing))
            for (bucket, _), missing in zip(wanted, until_full, strict=True)
        ],
        refused=int(refused) - 1 if refused else None,
        wait_seconds=int(wait) / SECOND,
    )


def _interval(per_minute: int, minutes: int) -> int:
    """Microseconds between two tokens; rounded down, so that a full bucket never lacks its last one."""
    return max(minutes * MINUTE // max(per_minute, 1), 1)


def _level(per_minute: int, minutes: int, until_full: int) -> Level:
    interval = _interval(per_minute, minutes)
    remaining = (per_minute * interval - until_full) // interval
    return Level(per_minute, remaining, until_full / SECOND)


class Circuit:
    """Whether Redis is asked at all: after a failure one caller in two seconds tries it for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._away = False
        self._next_try = 0.0

    def may_try(self) -> bool:
        """Whether this caller asks Redis."""
        if not self._away:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._next_try:
                return False
            self._next_try = now + PAUSE_SECONDS
            return True

    def failed(self, error: Exception) -> None:
        """Redis did not answer; the first time in a row is worth a line in the log."""
        with self._lock:
            first = not self._away
            self._away = True
            self._next_try = time.monotonic() + PAUSE_SECONDS
        if first:
            logger.warning(
                "redis away: each process limits by itself, and bells and wake-ups wait",
                extra={"error": type(error).__name__},
            )

    def worked(self) -> None:
        """Redis answered."""
        if not self._away:
            return
        with self._lock:
            back, self._away = self._away, False
        if back:
            logger.info("redis is back")


class Away(redis.RedisError):
    """Redis has just failed somebody else in this process, and is not asked again yet."""


@contextmanager
def asking(of: Circuit | None = None) -> Iterator[None]:
    """Around each question to Redis, or to the broker, that someone waits for; others learn from its answer.

    Raises:
        Away: nobody should ask now.
    """
    asked = of or circuit
    if not asked.may_try():
        raise Away
    try:
        yield
    except (redis.RedisError, OperationalError, OSError) as error:
        asked.failed(error)
        raise
    asked.worked()


def broker_circuit() -> Circuit:
    """That of the broker: with Redis as the broker, whoever finds it away finds it away for messages too."""
    other = settings.CELERY_BROKER_URL.startswith(("amqp", "pyamqp"))
    return rabbit_circuit if other else circuit


class LocalBuckets:
    """The same buckets in the memory of one process, smaller, for as long as Redis is away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._full_at: dict[str, int] = {}

    def take(self, wanted: Wanted) -> TakeResult:
        """What the script does in Redis; the limits are those of `per_minute_alone`."""
        refused, wait = None, 0
        before: list[int] = []
        after: list[int] = []
        limits = [min(bucket.per_minute, bucket.per_minute_alone) for bucket, _ in wanted]
        with self._lock:
            now = time.monotonic_ns() // 1_000
            for place, ((bucket, tokens), limit) in enumerate(zip(wanted, limits, strict=True)):
                interval = _interval(limit, bucket.minutes)
                latest = now + limit * interval
                full_at = min(max(self._full_at.get(bucket.name, now), now), latest)
                before.append(full_at)
                after.append(max(full_at + tokens * interval, now))
                if tokens > 0 and after[-1] - latest > wait:
                    refused, wait = place, after[-1] - latest
            if refused is None:
                self._keep(wanted, after)
        levels = [
            _level(limit, bucket.minutes, full_at - now)
            for (bucket, _), limit, full_at in zip(
                wanted, limits, after if refused is None else before, strict=True
            )
        ]
        return TakeResult(levels, refused, wait / SECOND)

    def _keep(self, wanted: Wanted, full_at: list[int]) -> None:
        for (bucket, tokens), moment in zip(wanted, full_at, strict=True):
            if tokens:
                self._full_at[bucket.name] = moment
        if len(self._full_at) > BUCKETS_ALONE:
            self._make_room()

    def _make_room(self) -> None:
        """Forget of the kind that there is most of those that will be full again soonest.

        A stranger's invented names are many of one kind, each used once. So they push out neither other
        kinds nor a bucket of their own kind that is nearly used up.
        """
        kinds: dict[str, dict[str, int]] = {}
        for name, full_at in self._full_at.items():
            kinds.setdefault(name.partition(":")[0], {})[name] = full_at
        largest = max(kinds.values(), key=len)
        for name in nsmallest(FORGOTTEN_AT_ONCE, largest, key=largest.__getitem__):
            del self._full_at[name]


circuit = Circuit()
rabbit_circuit = Circuit()
alone = LocalBuckets()
