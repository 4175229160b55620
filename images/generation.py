"""The life of a request. Start reading here.

A caller is admitted (money held, job queued, doorbell rung), waits, and is answered. A worker claims
the job, draws it and finishes it: that half stands in leases.py. Both halves meet in one row, and each
change of it is a compare-and-set on its status, so that of two ends only one can ever happen:

    queued → running(attempt, lease) → succeeded | failed | moderated | canceled | expired

Delivered and charged are one transaction, and so are given up and not charged.
"""

import logging
import secrets
import time
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from accounts.models import ApiKey, Organization, User
from accounts.refusals import Refusal
from billing import ledger, pricing
from images import hints, moderation, waiting
from images.catalog import MODELS, SEED_LIMIT
from images.models import Generation

logger = logging.getLogger(__name__)

DEADLINE_SECONDS: int = settings.REQUEST_DEADLINE_SECONDS
RETRY_AFTER_SECONDS = 5


class DeadlinePassed(Refusal):
    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    text = "The image was not ready within the deadline. Nothing was charged. Please try again."


class GenerationFailed(Refusal):
    status = 500
    type = "server_error"
    text = "The image could not be drawn, twice. Nothing was charged. Please try again."


class GenerationCanceled(Refusal):
    status = 400
    code = "generation_canceled"
    headers = {"x-should-retry": "false"}
    text = "This generation was canceled. Nothing was charged."


class GenerationNotFound(Refusal):
    status = 404
    code = "generation_not_found"
    text = "There is no generation with this id in your organization."


# What a caller is told about each end that is not a picture.
REFUSAL_OF: dict[str, type[Refusal]] = {
    Generation.Status.FAILED: GenerationFailed,
    Generation.Status.MODERATED: moderation.ContentPolicyViolation,
    Generation.Status.CANCELED: GenerationCanceled,
    Generation.Status.EXPIRED: DeadlinePassed,
}


def admit(
    *,
    organization: Organization,
    model: str,
    prompt: str,
    size: str,
    seed: int | None,
    request_id: str,
    api_key: ApiKey | None = None,
    user: User | None = None,
    response_format: str = "b64_json",
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Generation:
    """Hold the price, queue the job and ring for a worker. Returns at once.

    The API calls this with a key, the playground with a user; there is no second way in. All values
    must have been validated.

    Raises:
        ContentPolicyViolation: the prompt is refused.
        InsufficientQuota: the organisation cannot pay. In both cases nothing is stored or held.
    """
    moderation.screen(prompt)
    price = pricing.price_of(model=model, size=size)
    now = timezone.now()
    job = Generation(
        organization=organization,
        api_key=api_key,
        user=user,
        request_id=request_id,
        model=model,
        prompt=prompt,
        size=size,
        seed=secrets.randbelow(SEED_LIMIT + 1) if seed is None else seed,
        response_format=response_format,
        created_at=now,
        deadline_at=now + timedelta(seconds=deadline_seconds),
    )
    try:
        with transaction.atomic():
            job.hold = ledger.hold(organization=organization, api_key=api_key, price=price)
            job.save(force_insert=True)
    except (OperationalError, InterfaceError):
        # A connection that broke at COMMIT may have left the job behind, to be drawn and charged.
        connection.close()
        if not Generation.objects.filter(pk=job.pk).exists():
            raise
    hints.ring(MODELS[model])
    return job


def await_end(job: Generation) -> Generation:
    """Wait until the job has ended, at most until its deadline; returns the row as it then is.

    No database connection is held meanwhile. At the deadline the job is given up and its money
    released, unless it ended in that very moment: then that end counts.
    """
    until = time.monotonic() + (job.deadline_at - timezone.now()).total_seconds()
    with waiting.watch(job.id) as ended:
        # The waiter is registered by now, so an end after the first look will wake it.
        while not (now := _look_if_possible(job)).is_finished:
            left = until - time.monotonic()
            if left <= 0 or not ended.wait(left):
                break
            ended.clear()
    if not now.is_finished:
        expire(job)
        now = _look(job)
    return now


def _look(job: Generation) -> Generation:
    """The row as it is now, giving the connection back."""
    try:
        return Generation.objects.select_related("hold", "image").get(pk=job.pk)
    finally:
        if not connection.in_atomic_block:
            connection.close()


def _look_if_possible(job: Generation) -> Generation:
    """The same, or the job as it was while the database is away: the poller wakes us when it is back."""
    try:
        return _look(job)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("database away, still waiting", extra={"error": type(error).__name__})
        return job


def expire(job: Generation) -> bool:
    """Give up on an unfinished job and release its money; False where it had ended before."""
    return give_up(job, Generation.Status.EXPIRED, "deadline_passed")


def give_up(
    job: Generation, status: Generation.Status, error_code: str, *, attempt: int | None = None
) -> bool:
    """End a job without a picture: the final status and the released hold are one transaction.

    With `attempt`, only while the job runs in that very attempt. False where it had ended before.
    """
    unfinished = Generation.objects.unfinished().filter(pk=job.pk)
    if attempt is not None:
        unfinished = unfinished.filter(status=Generation.Status.RUNNING, attempt=attempt)
    with transaction.atomic():
        if not unfinished.update(
            status=status, error_code=error_code, lease_until=None, ended_at=timezone.now()
        ):
            return False
        ledger.release(job.hold)
    logger.info(
        "generation given up",
        extra={"generation": job.id, "status": status, "error_code": error_code},
    )
    hints.announce_end(job.id)
    return True


def find(*, organization: Organization, generation_id: str) -> Generation:
    """The tenant's own generation.

    Raises:
        GenerationNotFound: unknown, or another tenant's; the two look the same.
    """
    job = (
        Generation.objects.for_organization(organization)
        .select_related("hold", "image")
        .filter(pk=generation_id)
        .first()
    )
    if job is None:
        raise GenerationNotFound
    return job


def refusal_of(job: Generation) -> Refusal | None:
    """Why a finished job has no picture; None for one that has, or that is not finished."""
    kind = REFUSAL_OF.get(job.status)
    return kind() if kind else None
