"""What a token bucket is, and its arithmetic.

A bucket holds the tokens of a minute (or of more minutes, where it says so) and refills evenly. What is
stored is one moment, the one at which it will be full again (GCRA, as in ITU-T I.371), so that an untouched
bucket needs no row. Times are whole microseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

MINUTE = 60_000_000
SECOND = 1_000_000


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


def interval_of(per_minute: int, minutes: int) -> int:
    """Microseconds between two tokens; rounded down, so that a full bucket never lacks its last one."""
    return max(minutes * MINUTE // max(per_minute, 1), 1)


def level_of(per_minute: int, minutes: int, until_full: int) -> Level:
    interval = interval_of(per_minute, minutes)
    remaining = (per_minute * interval - until_full) // interval
    return Level(per_minute, remaining, until_full / SECOND)
