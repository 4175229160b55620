"""Requests and images a minute, of an organization and of each of its keys, and the headers that tell them."""

import math
from dataclasses import dataclass
from typing import Literal

from accounts.http.refusals import Refusal
from accounts.limits import buckets
from accounts.limits.gcra import Bucket, Level, TakeResult
from accounts.limits.plans import limits_of, limits_of_key
from accounts.models import ApiKey, Organization

# What one process lets each organization and key have in a minute while Redis is away.
REQUESTS_ALONE = 60
IMAGES_ALONE = 30
# What the headers say where nothing is limited: programs expect a number there.
NO_LIMIT = Level(limit=1_000_000, remaining=1_000_000, seconds_until_full=0.0)
SECONDS_IN_A_MINUTE = 60

Kind = Literal["requests", "images"]


@dataclass(frozen=True)
class RateLimitStatus:
    """What a caller has left: the tighter of organization and key; None where neither has a limit."""

    requests: Level | None
    images: Level | None

    def headers(self) -> dict[str, str]:
        """The six headers, named and written as OpenAI does."""
        lines = {}
        for kind, level in {
            "requests": self.requests or NO_LIMIT,
            "images": self.images or NO_LIMIT,
        }.items():
            lines[f"x-ratelimit-limit-{kind}"] = str(level.limit)
            lines[f"x-ratelimit-remaining-{kind}"] = str(level.remaining)
            lines[f"x-ratelimit-reset-{kind}"] = duration(level.seconds_until_full)
        return lines


class RateLimitExceeded(Refusal):
    """A bucket is empty; `rate_limit_status` is what the headers say."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(
        self,
        *,
        kind: Kind,
        limit: int,
        of_key: bool,
        wait_seconds: float,
        rate_limit_status: RateLimitStatus,
    ) -> None:
        seconds = buckets.retry_after(wait_seconds)
        whose = "this API key" if of_key else "your organization"
        super().__init__(
            f"Rate limit reached: {whose} may send {limit} {kind} a minute. "
            f"Please try again in {seconds} second{'' if seconds == 1 else 's'}."
        )
        self.headers = {"Retry-After": str(seconds)}
        self.rate_limit_status = rate_limit_status


@dataclass(frozen=True)
class _Counted:
    """A bucket, and what it counts."""

    kind: Kind
    of_key: bool
    bucket: Bucket


def take(
    *, organization: Organization, api_key: ApiKey | None, requests: int = 1, images: int = 0
) -> RateLimitStatus:
    """Take from the buckets of the organization and of the key's rotation family, in one step: all or none.

    `api_key` is None for the playground, which has the organization's limits only.

    Raises:
        RateLimitExceeded: there is not enough in one of them; none was touched.
    """
    counted = _counted(organization, api_key)
    outcome = buckets.take(_wanted(counted, requests, images))
    rate_limit_status = _status_of(counted, outcome)
    if outcome.refused is None:
        return rate_limit_status
    empty = counted[outcome.refused]
    raise RateLimitExceeded(
        kind=empty.kind,
        limit=outcome.levels[outcome.refused].limit,
        of_key=empty.of_key,
        wait_seconds=outcome.wait_seconds,
        rate_limit_status=rate_limit_status,
    )


def look(*, organization: Organization, api_key: ApiKey | None) -> RateLimitStatus:
    """What is left now; takes nothing."""
    return take(organization=organization, api_key=api_key, requests=0)


def give_back(
    *, organization: Organization, api_key: ApiKey | None, requests: int = 0, images: int = 0
) -> RateLimitStatus:
    """Return what was taken for work that was then refused for another reason."""
    counted = _counted(organization, api_key)
    return _status_of(counted, buckets.give_back(_wanted(counted, requests, images)))


def duration(seconds: float) -> str:
    """A time as OpenAI writes it: `0s`, `350ms`, `12s`, `1m0s`; rounded up, so that it is never too soon."""
    milliseconds = math.ceil(seconds * 1000)
    if 0 < milliseconds < 1000:  # noqa: PLR2004 - a second
        return f"{milliseconds}ms"
    minutes, rest = divmod(math.ceil(seconds), SECONDS_IN_A_MINUTE)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _counted(organization: Organization, api_key: ApiKey | None) -> list[_Counted]:
    """The buckets that there are: none for what is not limited."""
    owners = [("organization", organization.pk, limits_of(organization))]
    if api_key:
        # A key and those that it was rotated to share theirs.
        owners.append(("key", api_key.family_id, limits_of_key(api_key)))
    counted = []
    for owner, number, limits in owners:
        per_minute: list[tuple[Kind, int | None, int]] = [
            ("requests", limits.requests_per_minute, REQUESTS_ALONE),
            ("images", limits.images_per_minute, IMAGES_ALONE),
        ]
        for kind, limit, limit_alone in per_minute:
            if limit is not None:
                bucket = Bucket(f"{kind}:{owner}:{number}", limit, limit_alone)
                counted.append(_Counted(kind, owner == "key", bucket))
    return counted


def _wanted(counted: list[_Counted], requests: int, images: int) -> list[tuple[Bucket, int]]:
    tokens = {"requests": requests, "images": images}
    return [(one.bucket, tokens[one.kind]) for one in counted]


def _status_of(counted: list[_Counted], outcome: TakeResult) -> RateLimitStatus:
    def tightest(kind: Kind) -> Level | None:
        levels = [
            level for one, level in zip(counted, outcome.levels, strict=True) if one.kind == kind
        ]
        return min(levels, key=lambda level: level.remaining, default=None)

    return RateLimitStatus(requests=tightest("requests"), images=tightest("images"))
