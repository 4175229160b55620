"""One call, one image, however often it is sent: which earlier job answers this call too.

With an Idempotency-Key the job itself is the record: the key stands on its row, unique in the
organisation, written in the transaction that admits it. A job that failed or expired gives the key
free. Without one, a client's automatic retry joins the job whose answer was lost.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from accounts.http.refusals import InvalidRequest, Refusal
from accounts.models import ApiKey, Organization
from images.models import Generation, GenerationQuerySet

logger = logging.getLogger(__name__)

KEY_HEADER = "Idempotency-Key"
KEY_LENGTH = 255
# What the SDKs of OpenAI and others generated alike count their automatic retries in.
RETRY_HEADER = "x-stainless-retry-count"
RETRY_WINDOW = timedelta(minutes=10)
LIFETIME = timedelta(seconds=settings.IMAGE_LIFETIME_SECONDS)


class IdempotencyKeyReused(Refusal):
    # Not 409: the SDKs would retry it.
    status = 400
    code = "idempotency_key_reused"
    text = (
        "This Idempotency-Key was used with another body within the last 24 hours. "
        "Use a new key for a new request."
    )


@dataclass(frozen=True)
class IdempotentCall:
    """What tells one call from another: its Idempotency-Key, or the body it came with.

    Both as SHA-256: a key may be anything, a secret in the wrong place too.
    """

    body_digest: str
    key: str | None
    is_retry: bool


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


def earlier(
    *, organization: Organization, api_key: ApiKey | None, call: IdempotentCall | None
) -> Generation | None:
    """The job that answers this call too, running or finished; None when it needs one of its own.

    A retry that joins a job keeps other retries from it until `let_go`.

    Raises:
        IdempotencyKeyReused: the key names a job with another body.
    """
    if call and call.key is None and call.is_retry and api_key:
        return _join(api_key, call.body_digest)
    return holder(organization=organization, call=call)


def holder(*, organization: Organization, call: IdempotentCall | None) -> Generation | None:
    """The job that the call's Idempotency-Key names; None without a key or a job.

    Raises:
        IdempotencyKeyReused: it has another body.
    """
    if call is None or call.key is None:
        return None
    named = Generation.objects.for_organization(organization).filter(idempotency_key=call.key)
    job = named.select_related("hold", "image").first()
    if job is None:
        return None
    if has_lapsed(job):
        named.filter(pk=job.pk).update(idempotency_key=None)
        return None
    if job.body_digest != call.body_digest:
        raise IdempotencyKeyReused
    return job


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
        # One without a picture is no help to somebody who still wants one, and cost nothing.
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
