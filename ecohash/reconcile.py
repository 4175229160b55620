"""The books check themselves: each invariant is one query, and each difference is one line.

I1  no hold outlives the longest job, and each hold ends as its job did
I2  captured holds = stored pictures; a job that did not succeed has neither
I3  an organisation's pending and posted amounts are the sums of its holds; none above its cap
I4  the ledger agrees with the grants and captures that it records
I8  what was given up was not charged
"""

from collections.abc import Callable, Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from billing.models import Credit, Hold, LedgerEntry
from images.models import Generation, Image

# The deadline, the reaper's grace and its interval, and as much again for a machine under load.
LONGEST_JOB = timedelta(seconds=2 * settings.REQUEST_DEADLINE_SECONDS)

Differences = Iterator[str]


def holds_end() -> Differences:
    """I1: a pending hold belongs to a job that is still under way, and not for too long."""
    over = Q(generation__isnull=True) | ~Q(generation__status__in=Generation.UNFINISHED)
    old = Q(created_at__lt=timezone.now() - LONGEST_JOB)
    for hold in Hold.objects.pending().filter(over | old):
        yield f"I1 hold {hold.pk} of organization {hold.organization_id} is still pending"


def jobs_keep_their_hold() -> Differences:
    """I1: an unfinished job still has its money reserved."""
    for job in Generation.objects.unfinished().exclude(hold__state=Hold.State.PENDING):
        yield f"I1 {job.pk} is {job.status}, but its hold is not pending"


def captures_are_pictures() -> Differences:
    """I2 and I8: captured, succeeded and stored are the same jobs."""
    has_image = Exists(Image.objects.filter(pk=OuterRef("pk")))
    succeeded = Q(status=Generation.Status.SUCCEEDED)
    captured = Q(hold__state=Hold.State.CAPTURED)
    jobs = Generation.objects.annotate(has_image=has_image)
    for job in jobs.filter(captured & ~(succeeded & Q(has_image=True))):
        yield f"I2 {job.pk} is {job.status} and was charged without a picture"
    for job in jobs.filter((succeeded | Q(has_image=True)) & ~captured):
        yield f"I2 {job.pk} has a picture and was not charged"


def budgets_are_sums() -> Differences:
    """I3: the two running totals of each credit row are what its holds add up to."""
    for credit in Credit.objects.all():
        holds = Hold.objects.filter(organization=credit.organization_id, payer=Hold.Payer.CREDIT)
        for column, state in (("pending", "pending"), ("posted", "captured")):
            total = holds.filter(state=state).aggregate(sum=Coalesce(Sum("amount_micros"), 0))[
                "sum"
            ]
            recorded = getattr(credit, f"{column}_micros")
            if recorded != total:
                yield (
                    f"I3 organization {credit.organization_id}: {column} is {recorded}, "
                    f"its holds add up to {total}"
                )


def holds_fit_their_cap() -> Differences:
    """I3: nothing was admitted above the limit then in force, and no credit is overdrawn."""
    for hold in Hold.objects.filter(amount_micros__gt=F("cap_micros")):
        yield f"I3 hold {hold.pk} is {hold.amount_micros}, above its cap of {hold.cap_micros}"
    spent = F("pending_micros") + F("posted_micros")
    for credit in Credit.objects.filter(granted_micros__lt=spent):
        yield f"I3 organization {credit.organization_id} has spent more than it was granted"


def ledger_agrees() -> Differences:
    """I4: one capture entry for each captured hold, of its amount; grants add up to the credit."""
    entry = LedgerEntry.objects.filter(hold=OuterRef("pk"), amount_micros=OuterRef("amount_micros"))
    for hold in Hold.objects.filter(~Exists(entry), state=Hold.State.CAPTURED):
        yield f"I4 hold {hold.pk} was captured, but the ledger has no entry of its amount"
    wrong = LedgerEntry.objects.filter(kind=LedgerEntry.Kind.CAPTURE)
    for row in wrong.exclude(hold__state=Hold.State.CAPTURED):
        yield f"I4 ledger entry {row.pk} records a capture that did not happen"
    for row in wrong.exclude(organization=F("hold__organization")):
        yield f"I4 ledger entry {row.pk} charges another organization than its hold names"
    for credit in Credit.objects.all():
        grants = LedgerEntry.objects.filter(
            organization=credit.organization_id, kind=LedgerEntry.Kind.GRANT
        ).aggregate(sum=Coalesce(Sum("amount_micros"), 0))["sum"]
        if grants != credit.granted_micros:
            yield (
                f"I4 organization {credit.organization_id}: granted is {credit.granted_micros}, "
                f"the ledger's grants add up to {grants}"
            )


CHECKS: tuple[Callable[[], Differences], ...] = (
    holds_end,
    jobs_keep_their_hold,
    captures_are_pictures,
    budgets_are_sums,
    holds_fit_their_cap,
    ledger_agrees,
)


def differences() -> Iterator[str]:
    """All differences, one sentence each; none when the books are right."""
    for check in CHECKS:
        yield from check()
