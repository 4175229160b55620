"""Token buckets in the memory of one process, smaller, for as long as Redis is away."""

import threading
import time
from heapq import nsmallest

from accounts.limits.gcra import SECOND, TakeResult, Wanted, interval_of, level_of

# What one process remembers, some 10 MB, and what it forgets at once where that is not enough.
BUCKETS_KEPT = 50_000
FORGOTTEN_AT_ONCE = 5_000


class LocalBuckets:
    """The buckets of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._full_at: dict[str, int] = {}

    def take(self, wanted: Wanted) -> TakeResult:
        """What the script does in Redis (redis_buckets.py); the limits are those of `per_minute_alone`."""
        refused, wait = None, 0
        before: list[int] = []
        after: list[int] = []
        limits = [min(bucket.per_minute, bucket.per_minute_alone) for bucket, _ in wanted]
        with self._lock:
            now = time.monotonic_ns() // 1_000
            for place, ((bucket, tokens), limit) in enumerate(zip(wanted, limits, strict=True)):
                interval = interval_of(limit, bucket.minutes)
                latest = now + limit * interval
                full_at = min(max(self._full_at.get(bucket.name, now), now), latest)
                before.append(full_at)
                after.append(max(full_at + tokens * interval, now))
                if tokens > 0 and after[-1] - latest > wait:
                    refused, wait = place, after[-1] - latest
            if refused is None:
                self._keep(wanted, after)
        levels = [
            level_of(limit, bucket.minutes, full_at - now)
            for (bucket, _), limit, full_at in zip(
                wanted, limits, after if refused is None else before, strict=True
            )
        ]
        return TakeResult(levels, refused, wait / SECOND)

    def _keep(self, wanted: Wanted, full_at: list[int]) -> None:
        for (bucket, tokens), moment in zip(wanted, full_at, strict=True):
            if tokens:
                self._full_at[bucket.name] = moment
        if len(self._full_at) > BUCKETS_KEPT:
            self._make_room()

    def _make_room(self) -> None:
        """Forget of the kind that there is most of those that will be full again soonest.

        An attacker's invented names are many of one kind, each used once. So they push out neither other
        kinds nor a bucket of their own kind that is nearly used up.
        """
        kinds: dict[str, dict[str, int]] = {}
        for name, full_at in self._full_at.items():
            kinds.setdefault(name.partition(":")[0], {})[name] = full_at
        largest = max(kinds.values(), key=len)
        for name in nsmallest(FORGOTTEN_AT_ONCE, largest, key=largest.__getitem__):
            del self._full_at[name]
