"""The worker's half of a job's life: claim, renew, deliver or hand back; and what cleans up after lost workers.

A claim is a lease with an attempt number, measured on the database's clock. Finishing compares that
attempt, so a worker that was thought dead and comes back can never finish a job that moved on.
"""

import logging
import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from billing.ledger import holds
from images.catalog import MODELS, Model
from images.jobs import generation
from images.models import Generation, GenerationQuerySet, Image
from images.pictures import storage
from images.queue import fairness, signals

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
MAX_ATTEMPTS = 2
# Drawing, as long as the watchdog lets it, and then storing, two tries, behind pictures that take as long,
# and delivering. No deadline ends what is being drawn, so a storage that never answers must not keep its
# hold forever.
LONGEST_ATTEMPT = timedelta(
    seconds=settings.IMAGE_TIMEOUT_SECONDS + 4 * settings.STORAGE_TIMEOUT_SECONDS + 60
)
# The caller's own thread ends a queued job at its deadline; the reaper takes over where that thread died.
DEADLINE_GRACE = timedelta(seconds=3)
PURGE_BATCH = 500
# Of one round: the task is stopped after a minute, and the next round comes as soon.
PURGE_SECONDS = 30
# Links end first, so that nobody reads a file while it is removed.
PURGE_MARGIN = timedelta(minutes=1)


@dataclass(frozen=True)
class Picture:
    """A stored picture that waits to be delivered; `engine` is the fingerprint of what drew it."""

    storage_key: str
    sha256: str
    byte_count: int
    engine: str
    prompt_tokens: int
    prompt_tokens_seen: int
    drawn_at: datetime
    # 0 unless most of the text that the model saw is outside its vocabulary.
    prompt_tokens_unknown: int = 0


def has_queued_jobs(model: Model) -> bool:
    """Whether a worker could claim a job of this model: one read, which takes no lock, for workers that poll."""
    return Generation.objects.queued(model.id).filter(deadline_at__gt=Now()).exists()


def claim(*, model: Model, worker: str) -> Generation | None:
    """Take a job under a lease, the oldest of the organization that is next; None where none waits.

    PostgreSQL skips rows that another worker is taking; SQLite has one writer at a time. On both the
    guarded update has the last word.
    """
    with transaction.atomic():
        for waiting in fairness.organizations_in_order(model):
            job = (
                Generation.objects.queued(model.id)
                .filter(organization=waiting.organization_id, deadline_at__gt=Now())
                .select_for_update(skip_locked=True)
                .first()
            )
            if job and _take(job, worker):
                fairness.record_served(job.organization_id)
                return job
    return None


def _take(job: Generation, worker: str) -> bool:
    queued = Generation.objects.queued(job.model).filter(pk=job.pk, attempt=job.attempt)
    if not queued.update(
        status=Generation.Status.RUNNING,
        attempt=F("attempt") + 1,
        lease_until=Now() + LEASE,
        started_at=Now(),
        worker=worker,
    ):
        return False
    job.status = Generation.Status.RUNNING
    job.attempt += 1
    return True


def renew(job: Generation) -> bool:
    """Extend the lease; False where the job is no longer this attempt's, or that has taken too long."""
    in_time = _held(job).filter(started_at__gt=Now() - LONGEST_ATTEMPT)
    return bool(in_time.update(lease_until=Now() + LEASE))


def deliver(job: Generation, picture: Picture) -> bool:
    """T2: the picture is delivered and charged, or neither. True once it is, however often called.

    False means that the job ended otherwise or moved to another attempt: remove the upload. Money
    comes before the job, as in admission: a caller with the same Idempotency-Key holds the budget and
    waits for the job's row, so the other order is a deadlock.
    """
    with transaction.atomic():
        if not holds.capture(job.hold):
            # After a connection that broke at COMMIT the caller asks again: the outcome is read back.
            return Image.objects.filter(pk=job.pk, storage_key=picture.storage_key).exists()
        if not _held(job).update(
            status=Generation.Status.SUCCEEDED,
            lease_until=None,
            error_code="",
            ended_at=timezone.now(),
            drawn_at=picture.drawn_at,
            engine=picture.engine,
            prompt_tokens=picture.prompt_tokens,
            prompt_tokens_seen=picture.prompt_tokens_seen,
            prompt_tokens_unknown=picture.prompt_tokens_unknown,
        ):
            transaction.set_rollback(True)
            return False
        Image.objects.create(
            generation=job,
            storage_key=picture.storage_key,
            sha256=picture.sha256,
            byte_count=picture.byte_count,
            expires_at=timezone.now() + timedelta(seconds=settings.IMAGE_LIFETIME_SECONDS),
        )
    signals.publish_end(job.id)
    return True


def hand_back(job: Generation, error_code: str, *, stored: bool = True) -> None:
    """An attempt failed: queue the job once more, or give it up when it had its attempts or its deadline.

    `stored`: it may have left a picture, which is removed. Does nothing to a job that is no longer this
    attempt's.
    """
    mine = Q(status=Generation.Status.RUNNING, attempt=job.attempt)
    overdue = mine & Q(deadline_at__lte=Now())
    if job.attempt >= MAX_ATTEMPTS:
        lost = generation.give_up(job, Generation.Status.FAILED, error_code, only=mine)
    elif generation.give_up(job, Generation.Status.EXPIRED, error_code, only=overdue):
        lost = True
    else:
        requeued = {"status": Generation.Status.QUEUED, "lease_until": None}
        lost = bool(_held(job).update(**requeued, error_code=error_code))
        if lost:
            logger.warning("attempt lost", extra={"generation": job.id, "error_code": error_code})
            signals.notify_workers(MODELS[job.model])
    # Only what is lost: a worker that came back may just have delivered this very picture. And last,
    # for a storage that is away must not keep the job from its second attempt.
    if lost and stored:
        storage.remove_attempt_if_possible(job.id, job.attempt)


def sweep() -> int:
    """Notify each idle worker while jobs wait, in case the first notification was lost; returns how many."""
    notified = 0
    workers = signals.live_workers()
    for model in MODELS.values():
        idle = sum(worker.model == model.id and worker.state == "idle" for worker in workers)
        waiting = Generation.objects.queued(model.id)[:idle].count() if idle else 0
        if waiting:
            signals.notify_workers(model, waiting)
            notified += waiting
    return notified


def reap() -> int:
    """End what nobody works on any more; returns how many jobs it touched. Safe to run twice at once."""
    touched = 0
    # What is being drawn is finished, for as long as its worker renews the lease.
    overdue = Generation.objects.filter(
        status=Generation.Status.QUEUED, deadline_at__lt=Now() - DEADLINE_GRACE
    )
    for job in overdue.select_related("hold"):
        touched += generation.expire(job)
    dead = Generation.objects.filter(status=Generation.Status.RUNNING, lease_until__lt=Now())
    for job in dead.select_related("hold"):
        hand_back(job, "worker_lost")
        touched += 1
    return touched


def purge() -> int:
    """Remove expired pictures and whatever lost attempts left behind; returns how many jobs.

    What cannot be removed is left to a later round, and the others are removed all the same.
    """
    until = time.monotonic() + PURGE_SECONDS
    lifetime = timedelta(seconds=settings.IMAGE_LIFETIME_SECONDS) + PURGE_MARGIN
    old = Generation.objects.filter(purged_at=None, ended_at__lt=timezone.now() - lifetime)
    jobs = list(old.order_by("ended_at").values_list("pk", "attempt")[:PURGE_BATCH])
    # Else those that fail in each round would take the time of all others.
    random.shuffle(jobs)
    purged, failures = 0, []
    for generation_id, attempts in jobs:
        if time.monotonic() > until:
            break
        try:
            for attempt in range(1, attempts + 1):
                storage.remove_attempt(generation_id, attempt)
        except OSError as error:
            failures.append(storage.describe(error))
            continue
        Generation.objects.filter(pk=generation_id).update(
            purged_at=timezone.now(), idempotency_key=None
        )
        purged += 1
    if failures:
        logger.error("pictures not removed", extra={"pictures": len(failures), **failures[-1]})
    return purged


def _held(job: Generation) -> GenerationQuerySet:
    """The job's row, if it still runs in the attempt that the caller holds."""
    return Generation.objects.filter(
        pk=job.pk, status=Generation.Status.RUNNING, attempt=job.attempt
    )
