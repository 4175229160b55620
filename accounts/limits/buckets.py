"""Token buckets: how often something may happen in a minute, counted in Redis for all processes at once.

While Redis is away each process goes on by itself with smaller buckets.
"""

import math

import redis

from accounts.limits import circuits, redis_buckets
from accounts.limits.gcra import TakeResult, Wanted
from accounts.limits.local_buckets import LocalBuckets

local = LocalBuckets()


def take(wanted: Wanted) -> TakeResult:
    """Take that many tokens from each bucket, or none from any; zero tokens only look.

    More tokens than a bucket can hold are never granted. Nothing is raised: with Redis away the
    answer is this process's own.
    """
    if not wanted:
        return TakeResult([])
    if circuits.redis_circuit.allow_request():
        try:
            outcome = redis_buckets.take(wanted)
        except redis.RedisError as error:
            circuits.redis_circuit.failed(error)
        else:
            circuits.redis_circuit.worked()
            return outcome
    return local.take(wanted)


def give_back(wanted: Wanted) -> TakeResult:
    """Return tokens that were taken for nothing; a full bucket stays full."""
    return take([(bucket, -tokens) for bucket, tokens in wanted])


def retry_after(seconds: float) -> int:
    """A wait as a Retry-After: whole seconds from 1 to 60, for some clients obey no other."""
    return min(max(math.ceil(seconds), 1), 60)
