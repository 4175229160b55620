"""What no invoice can bill is written off, with an entry in the ledger, and staff are told."""

from datetime import timedelta

from django.db import transaction
from django.db.models import F, Max, Sum
from django.utils import timezone

from accounts.models import Organization
from billing import isolation
from billing.invoicing import own
from billing.ledger import entries
from billing.mails import notices
from billing.models import LedgerEntry, Subscription, UsageBatch

# So long a customer may come back, whose next invoice bills it.
WAIT = timedelta(days=35)


@transaction.atomic
def write_off(organization: Organization, *, reason: str) -> LedgerEntry | None:
    """Write off all use of the organization that no invoice bills; None where there is none.

    Batches that an invoice has claimed are never written off here: what is not paid of an invoice is written
    off with it.
    """
    # As in claiming: one at a time.
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    batches = own.unbilled(organization.pk)
    pks = list(batches.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))
    mine = UsageBatch.objects.filter(pk__in=pks)
    sums = mine.aggregate(
        images=Sum("quantity"), micros=Sum(F("quantity") * F("price__amount_micros"))
    )
    if not pks:
        return None
    entry = entries.post(
        organization=organization,
        kind=LedgerEntry.Kind.WRITE_OFF,
        debit=LedgerEntry.Account.LOSSES,
        credit=LedgerEntry.Account.RECEIVABLE,
        amount_micros=sums["micros"],
        reference=f"{pks[0]}:write_off",
        reason=reason,
    )
    mine.update(write_off=entry)
    mine.filter(state=UsageBatch.State.SEALED).update(state=UsageBatch.State.UNMETERED, note=reason)
    notices.note(
        "written_off",
        subject=str(pks[0]),
        organization_name=organization.name,
        images=sums["images"],
        micros=sums["micros"],
        reason=reason,
    )
    return entry


def write_off_old() -> list[LedgerEntry]:
    """Write off what has waited for an invoice for `WAIT`, where no subscription lives: too little to be charged, or
    of a customer that was deleted at Stripe.
    """
    live = Subscription.objects.filter(status__in=Subscription.LIVE).values("pk")
    waiting = (
        UsageBatch.objects.unclaimed()
        .exclude(organization__in=live)
        .order_by()
        .values("organization")
        .annotate(last=Max("last_captured_at"))
        .filter(last__lt=timezone.now() - WAIT)
    )
    organizations = Organization.objects.filter(pk__in=[row["organization"] for row in waiting])
    written = isolation.for_each(
        organizations.exclude(pk__in=own.drafts().values("organization")),
        lambda organization: write_off(organization, reason=reason_of(organization)),
        what="Use that no invoice can bill could not be written off",
        organization_of=lambda organization: organization.pk,
        seconds=own.SECONDS,
    )
    return [entry for entry in written if entry]


def reason_of(organization: Organization) -> str:
    """Why no invoice bills it."""
    row = Subscription.objects.filter(pk=organization.pk).first()
    if row is None or not row.customer_id:
        return "The customer is gone at Stripe, so no invoice can bill these images."
    return (
        "No subscription bills these images, and they cost less than the least that Stripe charges."
    )
