"""What no invoice can bill is written off, with an entry in the ledger, and staff are told."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Max, Sum
from django.utils import timezone

from accounts.models import Organization
from billing import isolation
from billing.amounts import MICROS_PER_CENT
from billing.invoicing import claiming, own
from billing.ledger import entries
from billing.mails import notices
from billing.models import LedgerEntry, Subscription, UsageBatch

# So long a customer may come back, whose next invoice bills it.
WAIT = timedelta(days=35)


@transaction.atomic
def write_off(organization: Organization, *, reason: str) -> list[LedgerEntry]:
    """Write off what the organization used and no invoice bills, and what earlier ones have billed too little.

    Batches that an invoice has claimed are never written off here: what is not paid of an invoice is written
    off with it. What earlier ones have billed too much stays, unless it is less than what they have not billed.
    """
    # As in claiming: one at a time.
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    batches = own.unbilled(organization.pk)
    pks = list(batches.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))
    mine = UsageBatch.objects.filter(pk__in=pks)
    sums = mine.aggregate(
        images=Sum("quantity"), micros=Sum(F("quantity") * F("price__amount_micros"))
    )
    micros = sums["micros"] or 0
    lines = list(claiming.uncarried(organization.pk))
    errors = -sum(line.error_cents for line in lines) * MICROS_PER_CENT
    parts = {claiming.write_off_of(line): -line.error_cents * MICROS_PER_CENT for line in lines}
    if micros + errors <= 0:
        parts, errors = {}, 0
    if pks:
        parts = {f"{pks[0]}:write_off": micros, **parts}
    written = [
        entries.post(
            organization=organization,
            kind=LedgerEntry.Kind.WRITE_OFF,
            debit=LedgerEntry.Account.LOSSES,
            credit=LedgerEntry.Account.RECEIVABLE,
            amount_micros=amount,
            reference=reference,
            reason=reason,
        )
        for reference, amount in parts.items()
    ]
    if pks:
        mine.update(write_off=written[0])
        mine.filter(state=UsageBatch.State.SEALED).update(
            state=UsageBatch.State.UNMETERED, note=reason
        )
    found = [entry for entry in written if entry]
    if found:
        notices.note(
            "written_off",
            subject=str(found[0].reference),
            organization_name=organization.name,
            images=sums["images"] or 0,
            micros=micros + errors,
            reason=reason,
        )
    return found


def write_off_old() -> list[LedgerEntry]:
    """Write off what has waited for an invoice for `WAIT`, where no subscription lives: too little to be charged, or
    of a customer that was deleted at Stripe.
    """
    written = isolation.for_each(
        Organization.objects.filter(pk__in=_waiting()).exclude(
            pk__in=own.drafts().values("organization")
        ),
        lambda organization: write_off(organization, reason=reason_of(organization)),
        what="Use that no invoice can bill could not be written off",
        organization_of=lambda organization: organization.pk,
        seconds=own.SECONDS,
    )
    return [entry for some in written for entry in some]


def _waiting() -> set[int]:
    """The ids of organizations whose last use that is not billed, or is billed wrongly, is so old."""
    live = Subscription.objects.filter(status__in=Subscription.LIVE).values("pk")
    last: dict[int, datetime] = {}
    for rows in (
        UsageBatch.objects.unclaimed()
        .exclude(organization__in=live)
        .order_by()
        .values_list("organization")
        .annotate(last=Max("last_captured_at")),
        claiming.uncarried_lines()
        .exclude(invoice__organization__in=live)
        .order_by()
        .values_list("invoice__organization")
        .annotate(last=Max("invoice__finalized_at")),
    ):
        for organization, moment in rows:
            last[organization] = max(moment, last.get(organization, moment))
    return {pk for pk, moment in last.items() if moment < timezone.now() - WAIT}


def reason_of(organization: Organization) -> str:
    """Why no invoice bills it."""
    row = Subscription.objects.filter(pk=organization.pk).first()
    if row is None or not row.customer_id:
        return "The customer is gone at Stripe, so no invoice can bill these images."
    return (
        "No subscription bills these images, and they cost less than the least that Stripe charges."
    )
