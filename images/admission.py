"""From a valid request to a job: an earlier call's, or the rate limits and then one of its own."""

from dataclasses import dataclass
from typing import Any

from accounts.buckets import retry_after
from accounts.models import ApiKey, Organization
from accounts.refusals import Refusal
from billing.ledger import InsufficientQuota, TooManyInFlight
from images import generation, idempotency, rate_limits, turns
from images.idempotency import Call
from images.models import Generation, GenerationQuerySet
from images.rate_limits import SECONDS_IN_A_MINUTE, Standing

TRIES = 3
# What is said when nobody can know: before the first picture, or without a worker.
UNKNOWN_WAIT_SECONDS = 5.0
# Storing a drawn picture and charging for it, generously.
DELIVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Admitted:
    """The job that answers the call; `shared` when it was another call's, which pays for it."""

    job: Generation
    shared: bool
    standing: Standing


def request_image(
    *,
    organization: Organization,
    api_key: ApiKey | None = None,
    call: Call | None = None,
    **asked: Any,
) -> Admitted:
    """Find or admit the job for a call; `asked` goes to `generation.admit`.

    Who shares a job takes a request's token and no image's. A refusal for lack of credit takes neither,
    and any other refusal of the job no image's.

    Raises:
        IdempotencyKeyReused, RateLimitExceeded, and whatever `generation.admit` refuses.
    """
    earlier = idempotency.earlier(organization=organization, api_key=api_key, call=call)
    if earlier:
        return _share(earlier, organization, api_key)
    standing = rate_limits.take(organization=organization, api_key=api_key, requests=1, images=1)
    try:
        job = _admit(organization=organization, api_key=api_key, call=call, **asked)
    except Refusal as refusal:
        broke = isinstance(refusal, InsufficientQuota)
        # Another call with this key may have taken the last of the money, or the last free place.
        earlier = idempotency.holder(organization=organization, call=call)
        standing = rate_limits.give_back(
            organization=organization,
            api_key=api_key,
            requests=1 if broke and not earlier else 0,
            images=1,
        )
        if earlier:
            return Admitted(earlier, shared=True, standing=standing)
        if isinstance(refusal, TooManyInFlight):
            jobs = Generation.objects.for_organization(organization)
            if refusal.of_key and api_key:
                jobs = jobs.filter(api_key=api_key)
            seconds = max(_until_one_ends(jobs), _until_next_request(standing))
            refusal.headers = {"Retry-After": str(retry_after(seconds))}
        raise
    return Admitted(job, shared=False, standing=standing)


def _admit(*, organization: Organization, call: Call | None, **asked: Any) -> Generation:
    """A job of its own; once more where the key's holder failed, and let it go, in that very moment."""
    tries = 0
    while True:
        try:
            return generation.admit(organization=organization, call=call, **asked)
        except generation.AlreadyAdmitted:
            tries += 1
            if tries == TRIES or idempotency.holder(organization=organization, call=call):
                raise


def _share(job: Generation, organization: Organization, api_key: ApiKey | None) -> Admitted:
    try:
        standing = rate_limits.take(organization=organization, api_key=api_key, requests=1)
    except rate_limits.RateLimitExceeded:
        idempotency.let_go(job)
        raise
    return Admitted(job, shared=True, standing=standing)


def _until_one_ends(jobs: GenerationQuerySet) -> float:
    """Seconds until a place in flight is free, as far as anybody can tell."""
    seconds = turns.seconds_until_one_ends(jobs)
    return UNKNOWN_WAIT_SECONDS if seconds is None else seconds + DELIVERY_SECONDS


def _until_next_request(standing: Standing) -> float:
    """Seconds until the rate limit lets another request pass; the refused one took its token."""
    level = standing.requests
    return SECONDS_IN_A_MINUTE / level.limit if level and not level.remaining else 0.0
