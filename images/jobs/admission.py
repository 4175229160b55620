"""From a valid request to a job: an earlier call's, or the rate limits and then one of its own."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from accounts import permissions
from accounts.http.addresses import Address
from accounts.http.refusals import Refusal
from accounts.limits import rate_limits
from accounts.limits.buckets import retry_after
from accounts.limits.rate_limits import SECONDS_IN_A_MINUTE, RateLimitStatus
from accounts.models import ApiKey, Organization
from billing.ledger.holds import InsufficientQuota, TooManyInFlight
from images.jobs import generation, idempotency
from images.jobs.idempotency import IdempotentCall
from images.models import Generation
from images.queue import fairness

TRIES = 3
# What is said when nobody can know: before the first picture, or without a worker.
UNKNOWN_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Admitted:
    """The job that answers the call; `shared` when it was another call's, which pays for it."""

    job: Generation
    shared: bool
    standing: RateLimitStatus


def request_image(
    *,
    organization: Organization,
    api_key: ApiKey | None = None,
    address: Address | None = None,
    call: IdempotentCall | None = None,
    **asked: Any,
) -> Admitted:
    """Find or admit the job for a call from that address; `asked` goes to `generation.admit`.

    Who shares a job takes a request's token and no image's. A refusal for lack of credit, or of a caller
    who may not any more, takes neither, and any other refusal of the job no image's.

    Raises:
        IdempotencyKeyReused, RateLimitExceeded, and whatever `generation.admit` refuses.
    """
    if api_key and call and (call.key or call.is_retry):
        # The whole body is there now. A key that was stopped meanwhile is not told of an earlier call either.
        api_key = permissions.key_now(key=api_key, scope=permissions.GENERATE, address=address)
    who = LimitSubject(organization, api_key)
    earlier = idempotency.earlier(organization=organization, api_key=api_key, call=call)
    if earlier:
        return _share(earlier, who)
    standing = rate_limits.take(organization=organization, api_key=api_key, requests=1, images=1)
    try:
        for _ in range(TRIES):
            with suppress(generation.AlreadyAdmitted):
                job = generation.admit(
                    organization=organization,
                    api_key=api_key,
                    address=address,
                    call=call,
                    **asked,
                )
                return Admitted(job, shared=False, standing=standing)
            # Its holder may have failed, and let the key go, in that very moment: then once more.
            if earlier := idempotency.holder(organization=organization, call=call):
                return Admitted(earlier, shared=True, standing=who.given_back(images=1))
        raise generation.AlreadyAdmitted
    except permissions.REFUSALS:
        who.given_back(requests=1, images=1)
        raise
    except Refusal as refusal:
        # First of all, for the next look may refuse too.
        standing = who.given_back(images=1)
        # Another call with this key may have taken the last of the money, or the last free place.
        if earlier := idempotency.holder(organization=organization, call=call):
            return Admitted(earlier, shared=True, standing=standing)
        if isinstance(refusal, InsufficientQuota):
            who.given_back(requests=1)
        elif isinstance(refusal, TooManyInFlight):
            refusal.headers = {"Retry-After": str(retry_after(_until_free(refusal, who, standing)))}
        raise


@dataclass(frozen=True)
class LimitSubject:
    """Whose limits count; no key in the playground."""

    organization: Organization
    api_key: ApiKey | None

    def given_back(self, *, requests: int = 0, images: int = 0) -> RateLimitStatus:
        """What is left after these tokens were returned."""
        return rate_limits.give_back(
            organization=self.organization, api_key=self.api_key, requests=requests, images=images
        )


def _share(job: Generation, who: LimitSubject) -> Admitted:
    try:
        standing = rate_limits.take(organization=who.organization, api_key=who.api_key, requests=1)
    except rate_limits.RateLimitExceeded:
        idempotency.release_join(job)
        raise
    return Admitted(job, shared=True, standing=standing)


def _until_free(refusal: TooManyInFlight, who: LimitSubject, standing: RateLimitStatus) -> float:
    """Seconds until a place in flight is free and the rate limit lets a request pass, as far as is known."""
    jobs = Generation.objects.for_organization(who.organization)
    if refusal.of_key and who.api_key:
        jobs = jobs.filter(api_key=who.api_key)
    ends = fairness.seconds_until_one_ends(jobs)
    place = UNKNOWN_WAIT_SECONDS if ends is None else ends + fairness.DELIVERY_SECONDS
    # The refused request has taken its token.
    level = standing.requests
    request = SECONDS_IN_A_MINUTE / level.limit if level and not level.remaining else 0.0
    return max(place, request)
