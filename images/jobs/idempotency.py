"""One call gets one image, however often it is sent: finds the earlier job that answers it too.

With an Idempotency-Key the job itself is the record: the key stands on its row, unique in the
organization, written in the transaction that admits it. A job that failed or expired gives the key
free.

Without one, the count of a client's automatic retry says that the answer before it did not arrive,
whatever this server has seen of it. The retry takes a job of the same API key and body from the call
that had it: `retry_joined` is the count of the call that has the job, 0 for a first try. That more jobs
are charged than calls were made is impossible while jobs are offered, for a retry never passes over a
job that only it could still take: see docs/decisions/0034-a-lost-answer.md.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import Case, Q, When
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
# Above every count that a client comes to, and as much as the column holds.
HIGHEST_RETRY_COUNT = 32_767
# How long a job is offered whose answer nobody has had, since it was made,
UNANSWERED_WINDOW = timedelta(minutes=10)
# and one whose answer the next hop has taken, since it ended or was last taken.
ANSWERED_WINDOW = timedelta(minutes=2)
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
    return IdempotentCall(
        body_digest=digest(body),
        key=None if key is None else hashlib.sha256(key.encode()).hexdigest(),
        retry_count=read_retry_count(headers.get(RETRY_HEADER, "")),
    )


def read_retry_count(text: str) -> int:
    """Which automatic retry this is; 0 for anything but a whole number, at most `HIGHEST_RETRY_COUNT`."""
    if not (text.isascii() and text.isdigit()):
        return 0
    # Python refuses to read numbers of thousands of digits.
    digits = text.lstrip("0")[: len(str(HIGHEST_RETRY_COUNT)) + 1]
    return min(int(digits or 0), HIGHEST_RETRY_COUNT)


def digest(body: dict[str, Any]) -> str:
    """SHA-256 of the body as canonical JSON: the order of its fields does not matter."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def find_or_join(request: GenerationRequest) -> Generation | None:
    """The job that answers this call too, running or finished; None when it needs one of its own.

    A retry that takes a job keeps those from it that are no later retries, until its own answer is lost
    too. A key that has lapsed is given free.

    Raises:
        IdempotencyKeyReused: the key names a job with another body.
    """
    call = request.call
    if call and call.key is None and call.retry_count and request.api_key:
        return _take(request.api_key, call)
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


def offered(api_key: ApiKey, call: IdempotentCall) -> GenerationQuerySet:
    """The jobs that this retry may take, the one that it should take first.

    The highest `retry_joined` is first, so that whoever had this job can take the one that this call had.
    Among equals, a job whose answer was seen to break off is before one that is still waited for, that one
    before an answered one, and a newer one before an older one.
    """
    now = timezone.now()
    lost = Q(answer_lost_at__isnull=False)
    recent = Q(ended_at__gt=now - ANSWERED_WINDOW) | Q(joined_at__gt=now - ANSWERED_WINDOW)
    # A job that ended without a picture cost nothing, and its caller still wants an image.
    succeeded = Q(status=Generation.Status.SUCCEEDED)
    unfinished = Q(status__in=Generation.UNFINISHED)
    # With the same count only when its answer was lost: a proxy may have sent that retry once more.
    free = Q(retry_joined__lt=call.retry_count) | lost & Q(retry_joined=call.retry_count)
    belief = Case(When(lost, then=0), When(unfinished, then=1), default=2)
    return Generation.objects.filter(
        unfinished | succeeded & (lost | recent),
        free,
        api_key=api_key,
        body_digest=call.body_digest,
        created_at__gt=now - UNANSWERED_WINDOW,
        idempotency_key=None,
    ).order_by("-retry_joined", belief, "-created_at")


def _take(api_key: ApiKey, call: IdempotentCall) -> Generation | None:
    """Take the first job that is offered, with a compare-and-set: two retries never take one at once."""
    jobs = offered(api_key, call)
    while job := jobs.select_related("hold", "image").first():
        unchanged = jobs.filter(pk=job.pk, joined_at=job.joined_at)
        now, count = timezone.now(), call.retry_count
        if unchanged.update(joined_at=now, retry_joined=count, answer_lost_at=None):
            job.joined_at, job.retry_joined, job.answer_lost_at = now, count, None
            return job
    return None


def note_lost_answer(job: Generation) -> None:
    """The call that has this job goes without its answer: another retry may take the job at once.

    `job` is the row as this call has made or taken it. Where another call has taken it since, nothing is
    noted: that one's answer is not lost.
    """
    if job.idempotency_key is not None or job.api_key_id is None:
        return
    try:
        unchanged = Generation.objects.filter(pk=job.pk, joined_at=job.joined_at)
        unchanged.update(answer_lost_at=timezone.now())
    except (DatabaseError, InterfaceError) as error:
        # A retry finds the job all the same, only not first and not for as long.
        logger.warning("lost answer not noted", extra={"error": type(error).__name__})
