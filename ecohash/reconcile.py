"""The books check themselves: each invariant is one query, and each difference is one line.

I1  no hold outlives the longest job, and each hold ends as its job did
I2  captured holds = stored pictures; a job that did not succeed has neither
I3  the running totals of credits and of budgets (an organization's, a key's) are the sums of their
    holds: pending and posted of its month, in flight of any; nothing was admitted above its cap
I4  the ledger agrees with the grants, captures and refunds that it records
I5  each image that a subscription pays is in one usage batch, and each batch holds what it says
I6  Stripe has counted and billed what the batches hold (billing/invoicing/comparing.py)
I7  one idempotency key of an organization has at most one job and one capture
I8  what was given up was not charged; the one refusal after which a job may still be charged is that of a
    deadline which passed while it was drawn, and it says so
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from billing.invoicing import comparing
from billing.models import Budget, Credit, Hold, LedgerEntry, UsageBatch
from billing.reporting import batching
from images.jobs import leases
from images.models import Generation, Image

# Use is sealed each minute.
LONGEST_OPEN = timedelta(minutes=10)
# A job waits for a worker until its deadline at most. An attempt that has begun by then goes on for as long
# as its lease may be renewed, and is not repeated. A minute more, for the reaper on a machine under load.
LONGEST_JOB = (
    timedelta(seconds=settings.REQUEST_DEADLINE_SECONDS)
    + leases.LONGEST_ATTEMPT
    + leases.LEASE
    + timedelta(minutes=1)
)

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


def credits_are_sums() -> Differences:
    """I3: the two running totals of each credit row are what its holds add up to."""
    holds = "organization__holds"
    of_credit = Q(**{f"{holds}__payer": Hold.Payer.CREDIT})
    credits_ = Credit.objects.annotate(
        pending=sum_of(f"{holds}__amount_micros", of_credit & state_of(holds, Hold.State.PENDING)),
        posted=sum_of(f"{holds}__amount_micros", of_credit & state_of(holds, Hold.State.CAPTURED)),
    )
    for row in credits_.exclude(pending_micros=F("pending"), posted_micros=F("posted")):
        whose = f"organization {row.organization_id}"
        yield from unlike(whose, "pending", row.pending_micros, row.pending)
        yield from unlike(whose, "posted", row.posted_micros, row.posted)


def budgets_are_sums() -> Differences:
    """I3: so are the three of each budget row."""
    of_organizations = Budget.objects.filter(api_key=None)
    for row in wrong_budgets(of_organizations, "organization__holds"):
        yield from wrong_sums(f"organization {row.organization_id}'s budget", row)
    for row in wrong_budgets(Budget.objects.filter(api_key__isnull=False), "holds"):
        yield from wrong_sums(f"key {row.api_key_id}'s budget", row)


def wrong_budgets(budgets: QuerySet[Budget], holds: str) -> QuerySet[Budget]:
    """Those that differ from the holds at the end of that path, with what they should say."""
    pending = state_of(holds, Hold.State.PENDING)
    captured = state_of(holds, Hold.State.CAPTURED)
    of_its_month = Q(**{f"{holds}__month": F("month")})
    return budgets.annotate(
        pending=sum_of(f"{holds}__amount_micros", pending & of_its_month),
        posted=sum_of(f"{holds}__amount_micros", captured & of_its_month),
        flying=Count(holds, filter=pending),
    ).exclude(pending_micros=F("pending"), posted_micros=F("posted"), in_flight=F("flying"))


def wrong_sums(whose: str, row: Any) -> Differences:
    """A line for each column of a row from `wrong_budgets` that differs."""
    yield from unlike(whose, "pending", row.pending_micros, row.pending)
    yield from unlike(whose, "posted", row.posted_micros, row.posted)
    yield from unlike(whose, "in_flight", row.in_flight, row.flying)


def unlike(whose: str, column: str, recorded: int, total: int) -> Differences:
    """A line if the two differ."""
    if recorded != total:
        yield f"I3 {whose}: {column} is {recorded}, its holds add up to {total}"


def state_of(holds: str, state: Hold.State) -> Q:
    """Holds at the end of that path which are in that state."""
    return Q(**{f"{holds}__state": state})


def sum_of(amount: str, condition: Q) -> Coalesce:
    """The sum over a path, 0 where there is nothing."""
    return Coalesce(Sum(amount, filter=condition), 0)


def pending_holds_have_a_budget() -> Differences:
    """I3: the end of a hold is counted somewhere."""
    budget = Budget.objects.filter(organization=OuterRef("organization"), api_key=None)
    without = Hold.objects.pending().filter(~Exists(budget))
    for organization in without.values_list("organization", flat=True).distinct():
        yield f"I3 organization {organization} has pending holds and no budget"


def holds_fit_their_cap() -> Differences:
    """I3: nothing was admitted above the limit then in force, and no credit is overdrawn."""
    for hold in Hold.objects.filter(reserved_micros__gt=F("cap_micros")):
        yield f"I3 hold {hold.pk} reserved {hold.reserved_micros}, above its cap of {hold.cap_micros}"
    spent = F("pending_micros") + F("posted_micros")
    for credit in Credit.objects.filter(granted_micros__lt=spent):
        yield f"I3 organization {credit.organization_id} has spent more than it was granted"


def ledger_agrees() -> Differences:
    """I4: one capture entry for each captured hold, of its amount; grants add up to the credit."""
    entry = LedgerEntry.objects.filter(
        hold=OuterRef("pk"),
        amount_micros=OuterRef("amount_micros"),
        kind=LedgerEntry.Kind.CAPTURE,
    )
    for hold in Hold.objects.filter(~Exists(entry), state=Hold.State.CAPTURED):
        yield f"I4 hold {hold.pk} was captured, but the ledger has no entry of its amount"
    wrong = LedgerEntry.objects.filter(kind=LedgerEntry.Kind.CAPTURE)
    for row in wrong.exclude(hold__state=Hold.State.CAPTURED):
        yield f"I4 ledger entry {row.pk} records a capture that did not happen"
    for row in wrong.exclude(organization=F("hold__organization")):
        yield f"I4 ledger entry {row.pk} charges another organization than its hold names"
    entries = "organization__ledger_entries"
    # A refund of what credit had paid is credit again.
    is_grant = Q(**{f"{entries}__credit": LedgerEntry.Account.CUSTOMER_CREDIT})
    credits_ = Credit.objects.annotate(grants=sum_of(f"{entries}__amount_micros", is_grant))
    for credit in credits_.exclude(granted_micros=F("grants")):
        yield (
            f"I4 organization {credit.organization_id}: granted is {credit.granted_micros}, "
            f"the ledger's grants add up to {credit.grants}"
        )


def refunds_give_back_what_was_charged() -> Differences:
    """I4: an image is refunded with what it cost, to whoever paid, and has its row to be sent."""
    refunds = LedgerEntry.objects.filter(kind=LedgerEntry.Kind.REFUND)
    of_images = refunds.filter(hold__isnull=False)
    wrong = of_images.exclude(
        hold__state=Hold.State.CAPTURED,
        amount_micros=F("hold__amount_micros"),
        organization=F("hold__organization"),
    )
    for row in wrong:
        yield f"I4 ledger entry {row.pk} refunds an image that was not charged so"
    for row in refunds.filter(refund=None):
        yield f"I4 ledger entry {row.pk} is a refund without its row"


def use_is_in_batches() -> Differences:
    """I5: a captured image that the subscription pays does not wait for its batch."""
    late = batching.open_use().filter(ended_at__lt=timezone.now() - LONGEST_OPEN)
    for row in late.order_by().values("organization").annotate(images=Count("pk")):
        yield f"I5 organization {row['organization']}: {row['images']} images are in no usage batch"


def batches_hold_what_they_say() -> Differences:
    """I5: number, organization and price of a batch are those of its images."""
    batches = UsageBatch.objects.annotate(images=Count("holds")).exclude(quantity=F("images"))
    for pk, quantity, images in batches.values_list("pk", "quantity", "images"):
        yield f"I5 batch {pk} says {quantity} images and holds {images}"
    alike = Q(organization=F("usage_batch__organization"), price=F("usage_batch__price"))
    for hold in Hold.objects.filter(usage_batch__isnull=False).exclude(alike):
        yield f"I5 hold {hold.pk} is in a batch of another organization or price"


def idempotency_keys_are_once() -> Differences:
    """I7: of the jobs that a key names, at most one is under way or was charged."""
    counted = Q(status__in=Generation.UNFINISHED) | Q(hold__state=Hold.State.CAPTURED)
    jobs = Generation.objects.filter(counted, idempotency_key__isnull=False)
    shared = (
        jobs.values("organization", "idempotency_key")
        .annotate(jobs=Count("pk"), first=Min("pk"))
        .filter(jobs__gt=1)
    )
    for row in shared:
        yield (
            f"I7 organization {row['organization']}: {row['jobs']} jobs share the idempotency key "
            f"of {row['first']}"
        )


CHECKS: tuple[Callable[[], Differences], ...] = (
    holds_end,
    jobs_keep_their_hold,
    captures_are_pictures,
    credits_are_sums,
    budgets_are_sums,
    pending_holds_have_a_budget,
    holds_fit_their_cap,
    ledger_agrees,
    refunds_give_back_what_was_charged,
    use_is_in_batches,
    batches_hold_what_they_say,
    idempotency_keys_are_once,
)


def differences() -> Iterator[str]:
    """All differences in the database, one sentence each; none when the books are right."""
    for check in CHECKS:
        yield from check()


def differences_in_snapshot() -> list[str]:
    """The same, all of one moment, so that work in flight does not look like a difference."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return list(differences())


def differences_at_stripe() -> list[str]:
    """I6: where Stripe's books say otherwise; outside of any transaction."""
    return list(comparing.compare())
