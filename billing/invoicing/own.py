"""Invoices of our own: for use that no subscription's invoice will bill, and between when much was used.

The row is made with its claims in one transaction; settling makes it at Stripe, as often as it takes.
"""

from datetime import timedelta
from functools import partial

from django.db import transaction
from django.db.models import F, Max, Min, Sum
from django.utils import timezone

from accounts.models import Organization
from billing import isolation
from billing.amounts import MICROS_PER_CENT
from billing.invoicing import claiming
from billing.ledger import ceilings
from billing.models import (
    Hold,
    Invoice,
    InvoiceQuerySet,
    Subscription,
    UsageBatch,
    UsageBatchQuerySet,
)
from billing.reporting import batching

# Images in flight when a subscription ends are delivered by then.
QUIET = timedelta(minutes=10)
SECONDS = 10.0


def make(organization: Organization, kind: Invoice.Kind) -> Invoice | None:
    """A row for all that no other invoice bills; None where there is nothing to bill, or too little.

    Safe to run twice at once: of two the database takes one.
    """
    batching.seal(organization)
    with transaction.atomic():
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        row = Subscription.objects.filter(pk=organization.pk).first()
        if (
            row is None
            or not row.customer_id
            or row.invoices_read_at is None
            or drafts().filter(organization=organization).exists()
        ):
            return None
        span = unbilled(organization.pk).aggregate(
            first=Min("first_captured_at"), last=Max("last_captured_at")
        )
        cents = unbilled_cents(organization.pk)
        # Stripe keeps less as a debt that is charged with a next invoice, which there may never be.
        if 0 <= cents * MICROS_PER_CENT < ceilings.LEAST_CHARGE_MICROS:
            return None
        invoice = Invoice.objects.create(
            organization=organization,
            kind=kind,
            customer_id=row.customer_id,
            subscription_id=row.subscription_id or "",
            period_start=span["first"],
            period_end=span["last"],
        )
        claiming.claim(invoice)
    return invoice


def drafts() -> InvoiceQuerySet:
    """Invoices that are still to claim use, or to be corrected."""
    return Invoice.objects.drafts().filter(done_at=None).exclude(kind=Invoice.Kind.MANUAL)


def unbilled(organization: int) -> UsageBatchQuerySet:
    """Batches of the organization with that id that no invoice bills yet."""
    return UsageBatch.objects.unclaimed().filter(organization=organization)


def unbilled_cents(organization: int) -> int:
    """What those and the errors of earlier invoices come to, in cents."""
    sums = (
        unbilled(organization)
        .values("price")
        .annotate(micros=Sum(F("quantity") * F("price__amount_micros")))
    )
    errors = sum(line.error_cents for line in claiming.uncarried(organization))
    return sum(claiming.whole_cents(row["micros"]) for row in sums.order_by()) - errors


def leftovers() -> list[int]:
    """The ids of organizations with unbilled use, or errors, whose subscription will write no invoice over it."""
    live = Subscription.objects.filter(status__in=Subscription.LIVE).values("pk")
    quiet = timezone.now() - QUIET
    recent = UsageBatch.objects.unclaimed().filter(last_captured_at__gt=quiet)
    with_use = UsageBatch.objects.unclaimed().filter(last_captured_at__lte=quiet)
    wrong = claiming.uncarried_lines().values_list("invoice__organization", flat=True)
    found = {
        *with_use.exclude(organization__in=live).values_list("organization", flat=True).distinct(),
        *wrong.exclude(invoice__organization__in=live).distinct(),
    }
    busy = {
        *recent.filter(organization__in=found).values_list("organization", flat=True),
        *Hold.objects.pending()
        .filter(organization__in=found, payer=Hold.Payer.SUBSCRIPTION)
        .values_list("organization", flat=True),
    }
    return sorted(found - busy)


def make_due() -> list[Invoice]:
    """One invoice for each of those, and for each whose unbilled use has come near its ceiling."""
    wanted = {
        Invoice.Kind.LEFTOVER: leftovers(),
        Invoice.Kind.INTERIM: ceilings.interim_due(),
    }
    made: list[Invoice | None] = []
    for kind, pks in wanted.items():
        made += isolation.for_each(
            Organization.objects.filter(pk__in=pks),
            partial(make, kind=kind),
            what="An invoice of its own could not be made",
            organization_of=lambda organization: organization.pk,
            seconds=SECONDS,
        )
    return [invoice for invoice in made if invoice]
