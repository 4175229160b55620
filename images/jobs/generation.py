"""The life of a request. Start reading here.

A caller is admitted (money held, job queued, a worker notified), waits, and is answered; what comes
before that, rate limits and repeated calls, is in admission.py. A worker claims the job, draws it and finishes
it: that half is in leases.py. Both halves meet in one row, and each change of it is a compare-and-set on
its status, so that of two ends only one can ever happen:

    queued → running(attempt, lease) → succeeded | failed | canceled | expired

Delivered and charged are one transaction, and so are given up and not charged. Deadlines and callers
who leave end what is queued; what is being drawn is finished and charged.
"""

import logging
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

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

from accounts import callers
from accounts.models import ApiKey, Organization
from billing.ledger import budgets, holds, pricing
from images.catalog import MODELS, SEED_LIMIT
from images.jobs import moderation
from images.jobs.generation_request import DEADLINE_SECONDS, GenerationRequest
from images.jobs.refusals import (
    AlreadyAdmitted,
    CallerLeft,
    DeadlineImpossible,
    GenerationNotFound,
)
from images.models import Generation
from images.queue import estimates, signals, waiting
from images.queue.admission_lock import organization_lock
from images.queue.disconnects import ClientConnection

logger = logging.getLogger(__name__)

# An answer of 5xx is not remembered: the same Idempotency-Key may try again.
GIVES_KEY_FREE = {Generation.Status.FAILED, Generation.Status.EXPIRED}


def admit(request: GenerationRequest) -> Generation:
    """Hold the price, queue the job and notify a worker. Only admission.py calls this.

    Raises, with nothing stored or held:
        ContentPolicyViolation: the prompt is refused.
        InvalidApiKey, InsufficientPermissions, NotAMember: the caller may not, or not any more.
        InsufficientQuota: the organization cannot pay, or a spend limit is reached.
        TooManyInFlight: as many images are in flight as may be at once.
        DeadlineImpossible: the queue is longer than that.
        AlreadyAdmitted: another call claimed the same Idempotency-Key meanwhile.
    """
    moderation.screen(request.prompt)
    price = pricing.price_of(model=request.model, size=request.size)
    job = _new_job(request)
    # Asked before the transaction, for a transaction never waits for Redis.
    forecast = estimates.forecast(MODELS[job.model])
    try:
        with (
            organization_lock.acquire(job.organization_id, close_connection),
            transaction.atomic(),
        ):
            api_key = _lock_caller(request)
            job.hold = holds.place(organization=job.organization, api_key=api_key, price=price)
            job.save(force_insert=True)
            refuse_unreachable_deadline(job, forecast, request.deadline_seconds)
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
    signals.notify_workers(MODELS[job.model])
    return job


def _new_job(request: GenerationRequest) -> Generation:
    """The row for this request, not saved and without its hold."""
    seed, call, now = request.seed, request.call, timezone.now()
    return Generation(
        organization=request.organization,
        api_key=request.api_key,
        user=request.user,
        request_id=request.request_id,
        model=request.model,
        prompt=request.prompt,
        size=request.size,
        seed=secrets.randbelow(SEED_LIMIT + 1) if seed is None else seed,
        response_format=request.response_format,
        idempotency_key=call.key if call else None,
        body_digest=call.body_digest if call else "",
        # Another call's earlier retry must not take it; see `idempotency`.
        retry_joined=call.retry_count if call else 0,
        created_at=now,
        deadline_at=now + timedelta(seconds=request.deadline_seconds),
    )


def _lock_caller(request: GenerationRequest) -> ApiKey | None:
    """Judge the caller again and lock its row; returns the key as it is now.

    The first time was before the body was read, and the caller decides how long that takes.
    """
    if request.api_key:
        return callers.key_now(
            key=request.api_key, scope=callers.GENERATE, address=request.address, lock=True
        )
    if request.user:
        callers.lock_member(user=request.user, organization=request.organization)
    return None


def refuse_unreachable_deadline(
    job: Generation, forecast: estimates.QueueForecast, deadline_seconds: float
) -> None:
    """Let those jobs pass that can be drawn in time, as far as anybody can tell.

    Raises:
        DeadlineImpossible: the jobs ahead take too long.
    """
    most = forecast.delivered_seconds(forecast.backlog, job.size)
    own_deadline = deadline_seconds < DEADLINE_SECONDS
    if most is None or (most < deadline_seconds / 2 and not own_deadline):
        return
    seconds = forecast.delivered_seconds(estimates.jobs_ahead(job, MODELS[job.model]), job.size)
    if seconds is not None and seconds > deadline_seconds:
        raise DeadlineImpossible(deadline_seconds=deadline_seconds, seconds=seconds)


def wait_until_finished(
    job: Generation,
    *,
    client: ClientConnection | None = None,
    seconds: float | None = None,
    on_leave: Callable[[], None] | None = None,
) -> Generation:
    """Wait until the job has ended, at most until its deadline; returns the row as it then is.

    No database connection is held meanwhile. At the deadline a job that is still queued is given up
    and its money released. One that is being drawn goes on, will be charged, and the row returned is
    unfinished. A call that shares another's job waits for `seconds` of its own; the same holds for that row.

    When the caller closes the connection, a queued job that nobody else waits for is canceled, free of
    charge. Any other will be charged: `on_leave` is called once, and the wait goes on, for who closed only
    the sending side still reads.

    Raises:
        CallerLeft: the job was canceled, or the connection was reset and nobody can read the answer. A job
            that goes on can be fetched by its id.
    """
    job_ends = time.monotonic() + (job.deadline_at - timezone.now()).total_seconds()
    until = job_ends if seconds is None else time.monotonic() + seconds
    client = client or ClientConnection(None)
    with waiting.watch(job.id) as woken, client.watched(woken.set):
        # The waiter is registered by now, so an end after the first look will wake it.
        while not (now := _read_if_possible(job)).is_finished:
            is_queued = now.status == Generation.Status.QUEUED
            if client.sends_no_more:
                _end_abandoned(job, client, is_queued=is_queued, on_leave=on_leave)
                on_leave = None
            clock = time.monotonic()
            if is_queued and clock >= job_ends and _end_if_possible(job, expire):
                continue
            if clock >= until:
                break
            woken.wait((min(until, job_ends) if is_queued else until) - clock)
            woken.clear()
    # A worker may have taken it up, or finished it, in that very moment.
    return now if now.is_finished else _read_if_possible(job)


def _end_abandoned(
    job: Generation,
    client: ClientConnection,
    *,
    is_queued: bool,
    on_leave: Callable[[], None] | None,
) -> None:
    """What follows when the caller closes the connection; returns where an answer may still be read.

    Raises:
        CallerLeft: see `wait_until_finished`.
    """
    if is_queued and _end_if_possible(job, cancel_abandoned):
        raise CallerLeft
    if on_leave:
        on_leave()
    close_connection()
    if client.is_gone:
        raise CallerLeft("The connection was reset before the image was ready.")


def _read(job: Generation) -> Generation:
    """The row as it is now; closes the connection after the read."""
    try:
        return Generation.objects.select_related("hold", "image").get(pk=job.pk)
    finally:
        close_connection()


def close_connection() -> None:
    """Close the connection before a wait: there are fewer connections than threads."""
    if not connection.in_atomic_block:
        connection.close()


def _read_if_possible(job: Generation) -> Generation:
    """The row as it is now, or the job as given while the database is away: the poller wakes us when it is back."""
    try:
        return _read(job)
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


def _end_if_possible(job: Generation, end: Callable[[Generation], bool]) -> bool:
    """`end(job)`; False also while the database is away, for then the job may be drawn and charged later."""
    try:
        return end(job)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("end not noted", extra={"error": type(error).__name__})
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
