"""Token buckets in Redis, for all processes at once: one script takes from all buckets or from none."""

from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from accounts.limits.gcra import SECOND, TakeResult, Wanted, interval_of, level_of

KEY = "ecohash:bucket:"
# Each step waits at most this long for Redis.
REDIS_TIMEOUT_SECONDS = 0.5

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


@cache
def client() -> redis.Redis:
    """This process's connections for limits: a caller waits for each, so none waits long or tries twice."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        # Redis(...) without a URL would try ten times by default, for 15 seconds.
        retry=Retry(NoBackoff(), 0),
    )


def take(wanted: Wanted) -> TakeResult:
    """What `buckets.take` does, in Redis.

    Raises:
        redis.RedisError: it did not answer.
    """
    arguments: list[int] = []
    for bucket, tokens in wanted:
        arguments += [interval_of(bucket.per_minute, bucket.minutes), bucket.per_minute, tokens]
    step = client().register_script(STEP)
    refused, wait, *until_full = step([KEY + bucket.name for bucket, _ in wanted], arguments)
    return TakeResult(
        levels=[
            level_of(bucket.per_minute, bucket.minutes, int(missing))
            for (bucket, _), missing in zip(wanted, until_full, strict=True)
        ],
        refused=int(refused) - 1 if refused else None,
        wait_seconds=int(wait) / SECOND,
    )
