"""Invoices of our own: for use that no subscription's invoice will bill, and between when much was used.

The row is made with its claims in one transaction; settling makes it at Stripe, as often as it takes.
"""

from datetime import timedelta

from django.db import transaction
from django.db.models import F, Max, Min, Sum
from django.utils import timezone

from accounts.models import Organization
from billing.invoicing import claiming
from billing.models import Hold, Invoice, Subscription, UsageBatch, UsageBatchQuerySet
from billing.reporting import batching

# Images in flight when a subscription ends are delivered by then.
QUIET = timedelta(minutes=10)
# Stripe charges no less, and keeps less as a debt that is charged with a next invoice, which there may never be.
LEAST_CENTS = 50


def make(organization: Organization, kind: Invoice.Kind) -> Invoice | None:
    """A row for all that no other invoice bills; None where there is nothing to bill, or too little.

    Safe to run twice at once: of two the database takes one.
    """
    batching.seal(organization)
    with transaction.atomic():
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        row = Subscription.objects.filter(pk=organization.pk).first()
        if row is None or not row.customer_id or has_draft(organization.pk):
            return None
        span = unbilled(organization.pk).aggregate(
            first=Min("first_captured_at"), last=Max("last_captured_at")
        )
        cents = unbilled_cents(organization.pk)
        if 0 <= cents < LEAST_CENTS:
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


def has_draft(organization: int) -> bool:
    """Whether an invoice of the organization with that id is still to claim, or to be corrected."""
    drafts = Invoice.objects.drafts().filter(organization=organization, done_at=None)
    return drafts.exclude(kind=Invoice.Kind.MANUAL).exists()


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


def make_leftovers() -> list[Invoice]:
    """One invoice for each of those."""
    organizations = Organization.objects.filter(pk__in=leftovers())
    made = [make(organization, Invoice.Kind.LEFTOVER) for organization in organizations]
    return [invoice for invoice in made if invoice]
