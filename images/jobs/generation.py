"""The life of a request. Start reading here.

A caller is admitted (money held, job queued, doorbell rung), waits, and is answered; what stands before
that, rate limits and repeated calls, is in admission.py. A worker claims the job, draws it and finishes
it: that half is in leases.py. Both halves meet in one row, and each change of it is a compare-and-set on
its status, so that of two ends only one can ever happen:

    queued → running(attempt, lease) → succeeded | failed | moderated | canceled | expired

Delivered and charged are one transaction, and so are given up and not charged. Deadlines and callers
who leave end what is queued; what is being drawn is finished and charged.
"""

import logging
import math
import secrets
import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)
from django.db.models import Q
from django.utils import timezone

from accounts import permissions
from accounts.http.addresses import Address
from accounts.http.refusals import Refusal
from accounts.limits.buckets import retry_after
from accounts.models import ApiKey, Organization, User
from billing.ledger import budgets, holds, pricing
from images.catalog import MODELS, SEED_LIMIT
from images.jobs import moderation
from images.jobs.idempotency import IdempotentCall
from images.models import Generation
from images.queue import fairness, signals, waiting
from images.queue.admission_lock import organization_lock
from images.queue.disconnects import ClientConnection

logger = logging.getLogger(__name__)

DEADLINE_SECONDS: int = settings.REQUEST_DEADLINE_SECONDS
RETRY_AFTER_SECONDS = 5


class DeadlinePassed(Refusal):
    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    text = "The image was not ready within the deadline. Nothing was charged. Please try again."


class StillRunning(DeadlinePassed):
    """The caller's deadline passed, and the job goes on: it was begun, or somebody else waits for it.
    Or nobody knows, while the database is away.

    The only refusal that may be followed by a charge, and the only one that carries the id of a job.
    """

    def __init__(self, job: Generation) -> None:
        begun = job.status == Generation.Status.RUNNING
        state = "being generated" if begun else "still in the queue"
        again = " or send the same request with the same Idempotency-Key again"
        super().__init__(
            f"The image was not ready within the deadline. It is {state}, and will be charged when it is "
            f"delivered. Get it with GET /v1/images/generations/{job.id}"
            f"{again if job.idempotency_key else ''}; it is kept for 24 hours."
        )
        self.headers = {
            "Retry-After": str(RETRY_AFTER_SECONDS),
            "x-ecohash-generation-id": job.id,
        }


class DeadlineImpossible(Refusal):
    """The queue is longer than the caller would wait. Said before anything is drawn."""

    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"

    def __init__(self, *, deadline_seconds: float, seconds: float) -> None:
        super().__init__(
            f"The image would take about {math.ceil(seconds)} seconds, with the queue as it is, and the "
            f"deadline is {deadline_seconds:g}. Nothing was drawn or charged. Please try again later."
        )
        self.headers = {"Retry-After": str(retry_after(seconds - deadline_seconds))}


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


class CallerLeft(Refusal):
    """Nobody is there to read this; it is what the log says. The status is nginx's for the same."""

    status = 499
    text = "The connection was closed before the image was ready."


class AlreadyAdmitted(Refusal):
    """A call with the same Idempotency-Key was faster. Its job answers this one too, unless it failed."""

    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"
    headers = {"Retry-After": "1"}
    text = "Another call with the same Idempotency-Key has just failed. Please try again."


# What a caller is told about each end that is not a picture.
REFUSAL_OF: dict[str, type[Refusal]] = {
    Generation.Status.FAILED: GenerationFailed,
    Generation.Status.MODERATED: moderation.ContentPolicyViolation,
    Generation.Status.CANCELED: GenerationCanceled,
    Generation.Status.EXPIRED: DeadlinePassed,
}
# An answer of 5xx is not remembered: the same Idempotency-Key may try again.
GIVES_KEY_FREE = {Generation.Status.FAILED, Generation.Status.EXPIRED}


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
    address: Address | None = None,
    response_format: str = "b64_json",
    deadline_seconds: float = DEADLINE_SECONDS,
    call: IdempotentCall | None = None,
) -> Generation:
    """Hold the price, queue the job and ring for a worker. Returns at once.

    API and playground both come here by way of admission.py; there is no third way in. All values
    must have been validated. `address` is where a call with a key comes from.

    Raises:
        ContentPolicyViolation: the prompt is refused.
        InvalidApiKey, InsufficientPermissions, NotAMember: the caller may not, or not any more.
        InsufficientQuota: the organisation cannot pay, or a spend limit is reached.
        TooManyInFlight: as many images are in work as may be at once.
        DeadlineImpossible: the queue is longer than that.
        AlreadyAdmitted: another call claimed the same Idempotency-Key meanwhile.
        Whichever it is, nothing is stored or held.
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
        idempotency_key=call.key if call else None,
        body_digest=call.body_digest if call else "",
        created_at=now,
        deadline_at=now + timedelta(seconds=deadline_seconds),
    )
    # Asked before the transaction, for a transaction never waits for Redis.
    outlook = fairness.forecast(MODELS[model])
    try:
        with (
            organization_lock.acquire(organization.pk, _give_connection_back),
            transaction.atomic(),
        ):
            # Judged before the body was read, too; the caller decides how long that takes.
            if api_key:
                api_key = permissions.key_now(
                    key=api_key, scope=permissions.GENERATE, address=address, lock=True
                )
            elif user:
                permissions.lock_member(user=user, organization=organization)
            job.hold = holds.place(organization=organization, api_key=api_key, price=price)
            job.save(force_insert=True)
            refuse_unreachable_deadline(job, outlook, deadline_seconds)
    except (OperationalError, InterfaceError):
        # A connection that broke at COMMIT may have left the job behind, to be drawn and charged.
        connection.close()
        if not Generation.objects.filter(pk=job.pk).exists():
            raise
    except IntegrityError as error:
        # Both databases name the column or its constraint.
        if "idempotency_key" not in str(error):
            raise
        raise AlreadyAdmitted from None
    except holds.SpendLimitReached as refusal:
        budgets.note_exhausted(refusal.budget)
        raise
    signals.notify_workers(MODELS[model])
    return job


def refuse_unreachable_deadline(
    job: Generation, outlook: fairness.QueueForecast, deadline_seconds: float
) -> None:
    """Let those jobs pass that can be drawn in time, as far as anybody can tell.

    Raises:
        DeadlineImpossible: the jobs ahead take too long.
    """
    most = outlook.delivered_seconds(outlook.backlog, job.size)
    own_deadline = deadline_seconds < DEADLINE_SECONDS
    if most is None or (most < deadline_seconds / 2 and not own_deadline):
        return
    seconds = outlook.delivered_seconds(fairness.jobs_ahead(job, MODELS[job.model]), job.size)
    if seconds is not None and seconds > deadline_seconds:
        raise DeadlineImpossible(deadline_seconds=deadline_seconds, seconds=seconds)


def wait_until_finished(
    job: Generation, *, caller: ClientConnection | None = None, seconds: float | None = None
) -> Generation:
    """Wait until the job has ended, at most until its deadline; returns the row as it then is.

    No database connection is held meanwhile. At the deadline a job that is still queued is given up
    and its money released. One that is being drawn goes on, will be charged, and the row returned is
    unfinished. Who shares another's job waits for `seconds` of its own; the same holds for that row.

    Raises:
        CallerLeft: the caller hung up. A queued job that nobody else waits for is canceled, free of
            charge; one that is being drawn is finished, charged, and can be fetched by its id.
    """
    job_ends = time.monotonic() + (job.deadline_at - timezone.now()).total_seconds()
    until = job_ends if seconds is None else time.monotonic() + seconds
    caller = caller or ClientConnection(None)
    with waiting.watch(job.id) as woken, caller.watched(woken.set):
        # The waiter is registered by now, so an end after the first look will wake it.
        while not (now := _look_if_possible(job)).is_finished:
            if caller.has_left:
                cancel_abandoned(job)
                raise CallerLeft
            clock = time.monotonic()
            is_queued = now.status == Generation.Status.QUEUED
            if is_queued and clock >= job_ends and _expire_if_possible(job):
                continue
            if clock >= until:
                break
            woken.wait((min(until, job_ends) if is_queued else until) - clock)
            woken.clear()
    # A worker may have taken it up, or finished it, in that very moment.
    return now if now.is_finished else _look_if_possible(job)


def _look(job: Generation) -> Generation:
    """The row as it is now, giving the connection back."""
    try:
        return Generation.objects.select_related("hold", "image").get(pk=job.pk)
    finally:
        _give_connection_back()


def _give_connection_back() -> None:
    """Before a wait: there are fewer connections than threads."""
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
    """Give up on a queued job, free of charge; False where it is being drawn or has ended.

    What has begun is finished and charged, whatever the deadline: a caller who could let drawings go to
    waste for nothing would have a GPU for nothing.
    """
    queued = Q(status=Generation.Status.QUEUED)
    return give_up(job, Generation.Status.EXPIRED, "deadline_passed", only=queued)


def _expire_if_possible(job: Generation) -> bool:
    """The same; False also while the database is away, for then the job may be drawn and charged later."""
    try:
        return expire(job)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("deadline not noted", extra={"error": type(error).__name__})
        connection.close()
        return False


def cancel(job: Generation) -> bool:
    """Take a queued job back, free of charge; False where it is being drawn or has ended."""
    queued = Q(status=Generation.Status.QUEUED)
    return give_up(job, Generation.Status.CANCELED, "canceled", only=queued)


def cancel_abandoned(job: Generation) -> bool:
    """Its caller hung up: cancel the job if it is queued and nobody else can be waiting for it."""
    unshared = Q(status=Generation.Status.QUEUED, idempotency_key=None, joined_at=None)
    return give_up(job, Generation.Status.CANCELED, "caller_left", only=unshared)


def give_up(
    job: Generation, status: Generation.Status, error_code: str, *, only: Q | None = None
) -> bool:
    """End a job without a picture: the final status and the released hold are one transaction.

    With `only`, on that condition alone. False where it did not hold or the job had ended before.
    """
    unfinished = Generation.objects.unfinished().filter(only or Q(), pk=job.pk)
    changes: dict[str, Any] = {"status": status, "error_code": error_code, "lease_until": None}
    if status in GIVES_KEY_FREE:
        changes["idempotency_key"] = None
    with transaction.atomic():
        # Money before the job, as everywhere: see `leases.deliver`.
        if not holds.release(job.hold):
            return False
        if not unfinished.update(**changes, ended_at=timezone.now()):
            transaction.set_rollback(True)
            return False
    logger.info(
        "generation given up",
        extra={"generation": job.id, "status": status, "error_code": error_code},
    )
    signals.publish_end(job.id)
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
