"""The books against Stripe's: each organization's invoices as they are there, and what is still to get on one.

Each difference is one sentence. A meter that has missed an event, or counted one twice, is no difference: the next
invoice corrects it.
"""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from billing.amounts import dollars_of_cents
from billing.gateway import client as gateway
from billing.gateway.errors import GatewayError
from billing.invoicing import own, settling, writing_off
from billing.models import Invoice, Subscription, UsageBatch
from billing.reporting import sending

Differences = Iterator[str]
# A draft that is not settled so long after its time is stuck.
LATE = timedelta(hours=2)


def compare(*, organization: int | None = None) -> Differences:
    """I6 and I11 at Stripe: all differences (of one organization, or of all), one sentence each.

    Not inside a transaction. What one organization's customer is refused for says nothing about the others.
    """
    mine = Q() if organization is None else Q(organization=organization)
    yield from _waiting(mine)
    rows = Subscription.objects.filter(mine).exclude(customer_id=None)
    for row in rows.select_related("organization").order_by("pk").iterator():
        try:
            yield from _invoices(row)
        except GatewayError as error:
            yield f"I6 organization {row.pk}: Stripe could not be asked: {error}"
    yield from _unsettled(mine)


def _waiting(mine: Q) -> Differences:
    """Batches that Stripe should have been told of by now."""
    old = timezone.now() - sending.UNSENT_ALARM
    for batch in (
        UsageBatch.objects.filter(mine).unsent().filter(sealed_at__lt=old).order_by("sealed_at")
    ):
        yield (
            f"I6 batch {batch.pk} of organization {batch.organization_id} waits since "
            f"{batch.sealed_at:%Y-%m-%d %H:%M} ({batch.note})"
        )


def _invoices(row: Subscription) -> Differences:
    """Read all invoices at Stripe; one that says otherwise than our row of it did is a difference."""
    final = Invoice.objects.filter(organization=row.organization).final()
    totals = dict(final.values_list("stripe_id", "total_cents"))
    for at in settling.read_all(row):
        if at.total_cents != totals.get(at.id, at.total_cents):
            yield (
                f"I11 invoice {at.number or at.id} of organization {row.pk}: Stripe's total is "
                f"{dollars_of_cents(at.total_cents)}, ours {dollars_of_cents(totals[at.id])}"
            )


def _unsettled(mine: Q) -> Differences:
    """Drafts that should be final by now."""
    late = timezone.now() - LATE
    stuck = Invoice.objects.filter(mine, done_at=None, held=True, tries__gt=0)
    for invoice in stuck.filter(finalizes_at__lt=late):
        yield f"I11 invoice {invoice} of organization {invoice.organization_id} is not settled ({invoice.note})"


def repair() -> Iterator[str]:
    """Do now what the periodic tasks do: settle what is due, bill what is left over; a sentence for each thing done.

    Raises:
        GatewayError
    """
    if not gateway.is_configured():
        return
    settling.look_for_drafts()
    for invoice in own.make_due():
        yield f"organization {invoice.organization_id}: an {invoice.kind} invoice of its own"
    for entry in writing_off.write_off_old():
        yield f"organization {entry.organization_id}: {entry.amount_micros} micro-dollars written off"
    before = set(Invoice.objects.filter(done_at=None).values_list("pk", flat=True))
    settling.work()
    for invoice in Invoice.objects.filter(pk__in=before, done_at__isnull=False):
        yield f"invoice {invoice} of organization {invoice.organization_id} is settled"
