"""From a valid request to the job that answers it: an earlier call's, or one of its own."""

from dataclasses import dataclass

from accounts import callers
from accounts.http.refusals import Refusal
from accounts.limits import rate_limits
from accounts.limits.buckets import retry_after
from accounts.limits.rate_limits import SECONDS_IN_A_MINUTE, RateLimitStatus
from accounts.models import ApiKey, Organization
from billing.ledger.holds import InsufficientQuota, TooManyInFlight
from images.jobs import generation, idempotency
from images.jobs.generation_request import GenerationRequest
from images.jobs.refusals import AlreadyAdmitted
from images.models import Generation
from images.queue import estimates

TRIES = 3
# Told when the wait is unknown: before the first picture, or without a worker.
UNKNOWN_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Admitted:
    """The job that answers the call; `shared` when it was another call's, which pays for it."""

    job: Generation
    shared: bool
    rate_limit_status: RateLimitStatus


def share_earlier(request: GenerationRequest) -> Admitted | None:
    """Share the job of an earlier call that this one repeats; None where there is none.

    It takes a request from the rate limits, and no image.

    Raises:
        IdempotencyKeyReused, RateLimitExceeded.
        InvalidApiKey, InsufficientPermissions: the key was stopped while the body arrived.
    """
    api_key, call = request.api_key, request.call
    if call is None or not (call.key or call.retry_count):
        return None
    if api_key:
        # A key that was stopped meanwhile is not told of an earlier call.
        callers.key_now(key=api_key, scope=callers.GENERATE, address=request.address)
    job = idempotency.find_or_join(request)
    if job is None:
        return None
    try:
        status = LimitSubject(request.organization, api_key).take(requests=1)
    except rate_limits.RateLimitExceeded:
        idempotency.note_lost_answer(job)
        raise
    return Admitted(job, shared=True, rate_limit_status=status)


def admit(request: GenerationRequest) -> Admitted:
    """Take a request and an image from the rate limits, and admit a job.

    Where a call with the same Idempotency-Key was faster, its job is shared. Every refusal returns the
    image to the limits; one for lack of credit, or of a caller who may not any more, the request too.

    Raises:
        IdempotencyKeyReused, RateLimitExceeded, and whatever `generation.admit` refuses.
    """
    subject = LimitSubject(request.organization, request.api_key)
    status = subject.take(requests=1, images=1)
    try:
        return Admitted(_admit(request), shared=False, rate_limit_status=status)
    except callers.REFUSALS:
        subject.give_back(requests=1, images=1)
        raise
    except Refusal as refusal:
        # Before anything else, for the next statement may refuse too.
        status = subject.give_back(images=1)
        # Another call with this key may have taken the last of the money, or the last free place.
        if job := idempotency.find(request):
            return Admitted(job, shared=True, rate_limit_status=status)
        if isinstance(refusal, InsufficientQuota):
            subject.give_back(requests=1)
        elif isinstance(refusal, TooManyInFlight):
            seconds = _seconds_until_free(refusal, subject, status)
            refusal.headers = {"Retry-After": str(retry_after(seconds))}
        raise


def _admit(request: GenerationRequest) -> Generation:
    """Admit a job, again where the one that had the Idempotency-Key failed and gave it free meanwhile."""
    for _ in range(TRIES):
        try:
            return generation.admit(request)
        except AlreadyAdmitted:
            if idempotency.find(request):
                raise
    raise AlreadyAdmitted


@dataclass(frozen=True)
class LimitSubject:
    """Whose rate limits count; without a key, as in the playground, the organization's alone."""

    organization: Organization
    api_key: ApiKey | None

    def take(self, *, requests: int = 0, images: int = 0) -> RateLimitStatus:
        """Raises RateLimitExceeded, and then takes nothing."""
        return rate_limits.take(
            organization=self.organization, api_key=self.api_key, requests=requests, images=images
        )

    def give_back(self, *, requests: int = 0, images: int = 0) -> RateLimitStatus:
        """Return what was taken for work that was then refused."""
        return rate_limits.give_back(
            organization=self.organization, api_key=self.api_key, requests=requests, images=images
        )


def _seconds_until_free(
    refusal: TooManyInFlight, subject: LimitSubject, status: RateLimitStatus
) -> float:
    """Seconds until a place in flight is free and the rate limit lets a request pass, as far as is known."""
    jobs = Generation.objects.for_organization(subject.organization)
    if refusal.of_key and subject.api_key:
        jobs = jobs.filter(api_key=subject.api_key)
    ends = estimates.seconds_until_one_ends(jobs)
    in_flight = UNKNOWN_WAIT_SECONDS if ends is None else ends + estimates.DELIVERY_SECONDS
    # The refused request has taken its token.
    level = status.requests
    request = SECONDS_IN_A_MINUTE / level.limit if level and not level.remaining else 0.0
    return max(in_flight, request)
