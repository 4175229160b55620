"""One call gets one image, however often it is sent: finds the earlier job that answers it too.

With an Idempotency-Key the job itself is the record: the key stands on its row, unique in the
organization, written in the transaction that admits it. A job that failed or expired gives the key
free. Without one, a client's automatic retry joins the job whose answer was lost.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from accounts.http.refusals import InvalidRequest
from accounts.models import ApiKey
from images.jobs.generation_request import GenerationRequest, IdempotentCall
from images.jobs.refusals import IdempotencyKeyReused
from images.models import Generation, GenerationQuerySet

logger = logging.getLogger(__name__)

KEY_HEADER = "Idempotency-Key"
KEY_LENGTH = 255
# The SDKs of OpenAI, and others made by the same generator, count their automatic retries here.
RETRY_HEADER = "x-stainless-retry-count"
RETRY_WINDOW = timedelta(minutes=10)
LIFETIME = timedelta(seconds=settings.IMAGE_LIFETIME_SECONDS)


def read_call(headers: Mapping[str, str], body: dict[str, Any]) -> IdempotentCall:
    """The identity of a call with these headers and this parsed body.

    Raises:
        InvalidRequest: the key is empty, too long, or not plain text.
    """
    key = headers.get(KEY_HEADER)
    if key is not None and not (1 <= len(key) <= KEY_LENGTH and key.isprintable()):
        raise InvalidRequest(
            f"The header {KEY_HEADER} must have 1 to {KEY_LENGTH} printable characters.",
            code="invalid_value",
            param=KEY_HEADER,
        )
    count = headers.get(RETRY_HEADER, "")
    return IdempotentCall(
        body_digest=digest(body),
        key=None if key is None else hashlib.sha256(key.encode()).hexdigest(),
        is_retry=count.isascii() and count.isdigit() and count.strip("0") != "",
    )


def digest(body: dict[str, Any]) -> str:
    """SHA-256 of the body as canonical JSON: the order of its fields does not matter."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def find_or_join(request: GenerationRequest) -> Generation | None:
    """The job that answers this call too, running or finished; None when it needs one of its own.

    A retry that joins a job keeps other retries from it until `release_join`. A key that has lapsed is
    given free.

    Raises:
        IdempotencyKeyReused: the key names a job with another body.
    """
    call = request.call
    if call and call.key is None and call.is_retry and request.api_key:
        return _join(request.api_key, call.body_digest)
    named = _job_with_key(request)
    if named and has_lapsed(named):
        unchanged = Generation.objects.filter(pk=named.pk, idempotency_key=named.idempotency_key)
        unchanged.update(idempotency_key=None)
    return _usable(named, request)


def find(request: GenerationRequest) -> Generation | None:
    """The job that the call's Idempotency-Key names; None without a key or a job.

    Raises:
        IdempotencyKeyReused: it has another body.
    """
    return _usable(_job_with_key(request), request)


def _job_with_key(request: GenerationRequest) -> Generation | None:
    """The organization's job that has the call's key."""
    if request.call is None or request.call.key is None:
        return None
    jobs = Generation.objects.for_organization(request.organization)
    return jobs.filter(idempotency_key=request.call.key).select_related("hold", "image").first()


def _usable(named: Generation | None, request: GenerationRequest) -> Generation | None:
    """The named job if it answers this call; None where its key has lapsed.

    Raises:
        IdempotencyKeyReused: it has another body.
    """
    if named is None or has_lapsed(named):
        return None
    if request.call and request.call.body_digest != named.body_digest:
        raise IdempotencyKeyReused
    return named


def has_lapsed(job: Generation) -> bool:
    """Whether its key is free again: with the picture's end, or 24 hours after a job without one."""
    if job.status == Generation.Status.SUCCEEDED:
        return not job.image.is_alive
    return job.ended_at is not None and job.ended_at + LIFETIME < timezone.now()


def joinable(api_key: ApiKey, body_digest: str) -> GenerationQuerySet:
    """Jobs of the same key and body whose answer nobody has, the newest first."""
    return Generation.objects.filter(
        api_key=api_key,
        body_digest=body_digest,
        created_at__gt=timezone.now() - RETRY_WINDOW,
        idempotency_key=None,
        joined_at=None,
        answered_at=None,
        # A job that ended without a picture cost nothing, and its caller still wants an image.
        status__in=[*Generation.UNFINISHED, Generation.Status.SUCCEEDED],
    ).order_by("-created_at")


def _join(api_key: ApiKey, body_digest: str) -> Generation | None:
    """Take the newest joinable job, with a compare-and-set: two retries never share one."""
    open_jobs = joinable(api_key, body_digest)
    while job := open_jobs.select_related("hold", "image").first():
        if open_jobs.filter(pk=job.pk).update(joined_at=timezone.now()):
            return job
    return None


def note_answer(job: Generation, whole: bool, *, shared: bool) -> None:  # noqa: FBT001 - a callback
    """The answer was written, in whole or not. A retry after the whole one means a new image."""
    if job.idempotency_key is not None:
        return
    try:
        if whole:
            Generation.objects.filter(pk=job.pk).update(answered_at=timezone.now())
        elif shared:
            release_join(job)
    except (DatabaseError, InterfaceError) as error:
        # At worst a retry gets this picture once more, free of charge.
        logger.warning("answer not noted", extra={"error": type(error).__name__})


def release_join(job: Generation) -> None:
    """A retry that had joined the job went away without its answer: the next one may join again."""
    Generation.objects.filter(pk=job.pk, answered_at=None).update(joined_at=None)
