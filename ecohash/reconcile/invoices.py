"""I5 and I11: what the subscription pays is in one batch, and each batch is billed once, from our rows alone.

What Stripe says about them is compared in billing/invoicing/comparing.py (I6).
"""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from billing.invoicing import claiming
from billing.models import InvoiceLine, LedgerEntry, UsageBatch
from billing.reporting import batching
from ecohash.reconcile.spans import AT_ONCE, Span, midnight, rows_of

# Use is sealed each minute.
LONGEST_OPEN = timedelta(minutes=10)
# A monthly period, and time to make good for it: what is not billed by then is overlooked.
BILLED_WITHIN = timedelta(days=40)
# An invoice may still change after its month is closed: it waits for Stripe, or is carried to a later one.
INVOICES_BACK = timedelta(days=100)


def use_is_in_batches(_span: Span) -> Iterator[str]:
    """I5: a captured image that the subscription pays does not wait for its batch."""
    late = batching.open_use().filter(ended_at__lt=timezone.now() - LONGEST_OPEN)
    for row in late.order_by().values("organization").annotate(images=Count("pk")):
        yield f"I5 organization {row['organization']}: {row['images']} images are in no usage batch"


def batches_hold_what_they_say(span: Span) -> Iterator[str]:
    """I5: number, organization and price of a batch are those of its images."""
    batches = span.batches().annotate(images=Count("holds")).exclude(quantity=F("images"))
    for pk, quantity, images in rows_of(batches, "pk", "quantity", "images"):
        yield f"I5 batch {pk} says {quantity} images and holds {images}"
    alike = Q(organization=F("usage_batch__organization"), price=F("usage_batch__price"))
    wrong = span.holds().filter(usage_batch__isnull=False).exclude(alike)
    for (pk,) in rows_of(wrong, "pk"):
        yield f"I5 hold {pk} is in a batch of another organization or price"


def batches_are_billed(_span: Span) -> Iterator[str]:
    """I11: use is on an invoice, or written off, within `BILLED_WITHIN`."""
    late = UsageBatch.objects.unclaimed().metered().exclude(state=UsageBatch.State.VOIDED)
    late = late.filter(last_captured_at__lt=timezone.now() - BILLED_WITHIN).order_by()
    sums = late.values("organization").annotate(n=Count("pk"), s=Sum("quantity"))
    for organization, batches, images in rows_of(sums, "organization", "n", "s"):
        yield (
            f"I11 organization {organization}: {images} images in {batches} batches are older than "
            f"{BILLED_WITHIN.days} days, on no invoice and not written off"
        )


def lines_claim_what_they_say(span: Span) -> Iterator[str]:
    """I11: a line's quantity and amount are those of its batches, which are of its organization and price."""
    claimed = UsageBatch.objects.filter(_recent(span, "invoice_line__invoice__"))
    claimed = claimed.filter(invoice_line__isnull=False)
    alike = Q(organization=F("invoice_line__invoice__organization"), price=F("invoice_line__price"))
    for pk, line in rows_of(claimed.exclude(alike), "pk", "invoice_line"):
        yield f"I11 batch {pk} is claimed by line {line} of another organization or price"
    lines = _lines(span).annotate(images=Coalesce(Sum("batches__quantity"), 0))
    columns = ("pk", "invoice", "quantity", "images", "claimed_cents", "price__amount_micros")
    for pk, invoice, quantity, images, cents, price in rows_of(lines, *columns):
        if quantity != images:
            yield (
                f"I11 line {pk} of invoice {invoice} claims {quantity} images, its batches hold {images}"
            )
        elif cents != claiming.whole_cents(quantity * price):
            yield f"I11 line {pk} of invoice {invoice} claims {cents} cents for {quantity} images at {price}"


def errors_are_carried(span: Span) -> Iterator[str]:
    """I11: what a settled, final invoice bills wrongly is carried to a later one, cent by cent."""
    settled = claiming.uncarried_lines().filter(invoice__done_at__isnull=False)
    overlooked = settled.filter(invoice__finalized_at__lt=timezone.now() - BILLED_WITHIN)
    for line in overlooked.iterator(chunk_size=AT_ONCE):
        yield (
            f"I11 line {line.pk} of invoice {line.invoice_id} bills {line.error_cents} cents too much, "
            "which no later line carries"
        )
    carried = Sum(
        F("carries__stripe_cents")
        + F("carries__correction_cents")
        - F("carries__claimed_cents")
        - F("carries__carried_cents")
    )
    lines = _lines(span).annotate(errors=Coalesce(carried, 0)).exclude(carried_cents=-F("errors"))
    for pk, cents, errors in rows_of(lines, "pk", "carried_cents", "errors"):
        yield f"I11 line {pk} carries {cents} cents, what it carries adds up to {-errors}"


def write_offs_are_entries(span: Span) -> Iterator[str]:
    """I11: the entry of batches that were written off is of their amount and organization."""
    entries = span.entries().filter(batches__isnull=False)
    amount = Sum(F("batches__quantity") * F("batches__price__amount_micros"))
    sums = entries.values("pk", "amount_micros", "kind").annotate(batches_micros=amount)
    right = Q(amount_micros=F("batches_micros"), kind=LedgerEntry.Kind.WRITE_OFF)
    for pk, has, micros in rows_of(sums.exclude(right), "pk", "amount_micros", "batches_micros"):
        yield f"I11 ledger entry {pk} writes off {has}, its batches cost {micros}"
    foreign = UsageBatch.objects.filter(write_off__in=span.entries())
    for pk, entry in rows_of(
        foreign.exclude(organization=F("write_off__organization")), "pk", "write_off"
    ):
        yield f"I11 batch {pk} is written off by entry {entry} of another organization"


def _lines(span: Span) -> QuerySet[InvoiceLine]:
    return InvoiceLine.objects.filter(_recent(span, "invoice__")).order_by()


def _recent(span: Span, invoice: str) -> Q:
    """Invoices of the span, and older ones that may still have changed."""
    if span.first is None:
        return Q()
    since = min(midnight(span.first), timezone.now() - INVOICES_BACK)
    return Q(**{f"{invoice}created_at__gte": since})
