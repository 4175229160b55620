"""Which batches of use an invoice bills: each is claimed by one line, in one transaction.

| the invoice | claims what no other invoice has claimed and |
|---|---|
| a draft of a subscription's period | was captured before the period's end |
| one that became final before we had claimed | was captured in its period |
| one of our own | is there when it is made |
| made at Stripe by hand | nothing |

What earlier invoices have billed too much or too little is carried to the lines of the next one.
"""

from uuid import UUID

from django.db import transaction
from django.db.models import CharField, Exists, F, OuterRef, QuerySet, Sum, Value
from django.db.models.functions import Cast, Concat
from django.utils import timezone

from accounts.models import Organization
from billing.amounts import MICROS_PER_CENT
from billing.models import Invoice, InvoiceLine, LedgerEntry, Price, UsageBatch, UsageBatchQuerySet

LINE, WRITTEN_OFF = "line:", ":write_off"
# A month has 43,200 minutes, each with a batch of its own; SQLite may take no more than 32,766 values at once.
AT_ONCE = 5_000


class BeingSent(Exception):
    """A batch is on its way to its meter at this moment: claim again when that is over."""


def whole_cents(micros: int) -> int:
    """An amount of a line in cents, rounded half up as Stripe does."""
    return (2 * micros + MICROS_PER_CENT) // (2 * MICROS_PER_CENT)


@transaction.atomic
def claim(invoice: Invoice) -> None:
    """Give the invoice's lines what they are to bill. Safe to repeat: what it has it keeps.

    Raises:
        BeingSent: nothing was claimed.
    """
    if invoice.kind == Invoice.Kind.MANUAL:
        return
    # One claim of an organization at a time.
    Organization.objects.select_for_update(no_key=True).get(pk=invoice.organization_id)
    _take_batches(invoice, _claimable(invoice))
    if not invoice.is_final:
        _take_errors(invoice)


def _claimable(invoice: Invoice) -> UsageBatchQuerySet:
    free = UsageBatch.objects.unclaimed().filter(organization=invoice.organization_id)
    if invoice.kind in Invoice.OWN:
        return free
    free = free.filter(last_captured_at__lt=invoice.period_end)
    if invoice.is_final:
        free = free.filter(first_captured_at__gte=invoice.period_start)
    return free


def _take_batches(invoice: Invoice, free: UsageBatchQuerySet) -> None:
    rows = list(
        free.order_by("pk").select_for_update(no_key=True).values_list("pk", "price", "state")
    )
    if any(state == UsageBatch.State.SENDING for _, _, state in rows):
        raise BeingSent
    batches: dict[int, list[UUID]] = {}
    for pk, price_id, _ in rows:
        batches.setdefault(price_id, []).append(pk)
    for price_id, pks in batches.items():
        line = line_of(invoice, price_id)
        for first in range(0, len(pks), AT_ONCE):
            mine = UsageBatch.objects.filter(pk__in=pks[first : first + AT_ONCE])
            mine.filter(state=UsageBatch.State.SEALED).update(
                state=UsageBatch.State.UNMETERED, note="billed before it was reported"
            )
            mine.update(invoice_line=line)
    for line in invoice.lines.select_related("price"):
        line.quantity = line.batches.aggregate(sum=Sum("quantity"))["sum"] or 0
        line.claimed_cents = whole_cents(line.quantity * line.price.amount_micros)
        line.save(update_fields=["quantity", "claimed_cents"])


def _take_errors(invoice: Invoice) -> None:
    """Carry what earlier invoices have billed wrongly to the lines of the same prices."""
    for wrong in uncarried(invoice.organization_id):
        line = line_of(invoice, wrong.price_id)
        if line.invoice_id == wrong.invoice_id:
            continue
        taken = InvoiceLine.objects.filter(pk=wrong.pk, carried_by=None).update(carried_by=line)
        if taken:
            InvoiceLine.objects.filter(pk=line.pk).update(
                carried_cents=F("carried_cents") - wrong.error_cents
            )


def uncarried_lines() -> QuerySet[InvoiceLine]:
    """Lines of final invoices that bill another amount than they claim, and that no later one makes good."""
    billed = F("stripe_cents") + F("correction_cents")
    name = Concat(Value(LINE), Cast(OuterRef("pk"), CharField()), Value(WRITTEN_OFF))
    return (
        InvoiceLine.objects.filter(invoice__finalized_at__isnull=False, carried_by=None)
        .exclude(claimed_cents=billed - F("carried_cents"))
        .exclude(Exists(LedgerEntry.objects.filter(reference=name)))
    )


def write_off_of(line: InvoiceLine) -> str:
    """The reference of the entry that writes off what the line bills wrongly, where no later one can."""
    return f"{LINE}{line.pk}{WRITTEN_OFF}"


def uncarried(organization: int) -> QuerySet[InvoiceLine]:
    """Those of the organization with that id."""
    return uncarried_lines().filter(invoice__organization=organization)


def line_of(invoice: Invoice, price: Price | int) -> InvoiceLine:
    """The invoice's line of that price, made where it is missing."""
    price_id = price if isinstance(price, int) else price.pk
    line, _ = InvoiceLine.objects.get_or_create(invoice=invoice, price_id=price_id)
    return line


@transaction.atomic
def release(invoice: Invoice, note: str) -> None:
    """The draft is gone at Stripe: what it claimed is free for the next one."""
    Organization.objects.select_for_update(no_key=True).get(pk=invoice.organization_id)
    UsageBatch.objects.filter(invoice_line__invoice=invoice).update(invoice_line=None)
    InvoiceLine.objects.filter(carried_by__invoice=invoice).update(carried_by=None)
    invoice.lines.all().delete()
    Invoice.objects.filter(pk=invoice.pk, finalized_at=None).update(
        status=Invoice.Status.DELETED, done_at=timezone.now(), claimed_until=None, note=note
    )
