"""I1, I2, I7 and I8: each hold ends as its job did, and a job is charged for what it stored, once."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, Exists, Min, OuterRef, Q
from django.utils import timezone

from billing.models import Hold
from ecohash.reconcile.spans import Span, rows_of
from images.jobs import leases
from images.models import Generation, Image

# A job waits for a worker until its deadline at most. An attempt that has begun by then goes on for as long
# as its lease may be renewed, and is not repeated. A minute more, for the reaper on a machine under load.
LONGEST_JOB = (
    timedelta(seconds=settings.REQUEST_DEADLINE_SECONDS)
    + leases.LONGEST_ATTEMPT
    + leases.LEASE
    + timedelta(minutes=1)
)


def holds_end(_span: Span) -> Iterator[str]:
    """I1: a pending hold belongs to a job that is still under way, and not for too long."""
    over = Q(generation__isnull=True) | ~Q(generation__status__in=Generation.UNFINISHED)
    old = Q(created_at__lt=timezone.now() - LONGEST_JOB)
    pending = Hold.objects.pending().filter(over | old)
    for pk, organization in rows_of(pending, "pk", "organization"):
        yield f"I1 hold {pk} of organization {organization} is still pending"


def jobs_keep_their_hold(_span: Span) -> Iterator[str]:
    """I1: an unfinished job still has its money reserved."""
    jobs = Generation.objects.unfinished().exclude(hold__state=Hold.State.PENDING)
    for pk, status in rows_of(jobs, "pk", "status"):
        yield f"I1 {pk} is {status}, but its hold is not pending"


def captures_are_pictures(span: Span) -> Iterator[str]:
    """I2 and I8: captured, succeeded and stored are the same jobs."""
    has_image = Exists(Image.objects.filter(pk=OuterRef("pk")))
    succeeded = Q(status=Generation.Status.SUCCEEDED)
    captured = Q(hold__state=Hold.State.CAPTURED)
    jobs = span.jobs().annotate(has_image=has_image)
    unpaid = jobs.filter(captured & ~(succeeded & Q(has_image=True)))
    for pk, status in rows_of(unpaid, "pk", "status"):
        yield f"I2 {pk} is {status} and was charged without a picture"
    for (pk,) in rows_of(jobs.filter((succeeded | Q(has_image=True)) & ~captured), "pk"):
        yield f"I2 {pk} has a picture and was not charged"


def idempotency_keys_are_once(span: Span) -> Iterator[str]:
    """I7: of the jobs that a key names, at most one is under way or was charged."""
    counted = Q(status__in=Generation.UNFINISHED) | Q(hold__state=Hold.State.CAPTURED)
    jobs = span.jobs().filter(counted, idempotency_key__isnull=False)
    shared = (
        jobs.values("organization", "idempotency_key")
        .annotate(jobs=Count("pk"), first=Min("pk"))
        .filter(jobs__gt=1)
    )
    for organization, count, first in rows_of(shared, "organization", "jobs", "first"):
        yield f"I7 organization {organization}: {count} jobs share the idempotency key of {first}"
