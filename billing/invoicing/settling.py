"""Makes each invoice say what it claims before it is final, and keeps what it said then.

A row is worked on by one process at a time, and every step finds what an earlier one has done, so it may end
between any two of them.
"""

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from accounts.models import Organization
from billing import isolation
from billing.amounts import dollars, dollars_of_cents
from billing.gateway import client as gateway
from billing.gateway import customers, invoices
from billing.gateway.errors import GatewayError, StripeRefused
from billing.gateway.invoices import Correction, StripeInvoice
from billing.invoicing import claiming, reading
from billing.mails import notices
from billing.models import Invoice, InvoiceLine, Subscription, UsageBatch
from billing.payments import invoices as payments
from billing.reporting import batching
from billing.subscriptions.catalog import title_of

logger = logging.getLogger(__name__)

# A meter adds up with a lag of minutes: what it has just accepted is waited for, so long after the hour of settling.
LAG = timedelta(minutes=15)
PATIENCE = timedelta(minutes=30)
SOON = timedelta(seconds=15)
# A draft that Stripe would not have made final by itself, as that of an unpaid subscription, waits for a person.
LATER = timedelta(hours=6)
AT_ONCE = 100


def work(seconds: float = 20.0) -> int:
    """Settle what is due, for at most that long; returns how many invoices were worked on. Safe to run twice at once."""
    if not gateway.is_configured():
        return 0
    due = Invoice.objects.due().select_related("organization").order_by("not_before", "pk")
    worked = isolation.for_each(
        due[:AT_ONCE],
        process,
        what="An invoice could not be settled",
        organization_of=lambda invoice: invoice.organization_id,
        seconds=seconds,
    )
    return sum(worked)


def process(invoice: Invoice) -> bool:
    """Take the next step with one; False where another process does.

    Raises:
        GatewayError: it is tried again later.
    """
    if not invoice.claim():
        return False
    try:
        wait = _step(invoice)
    except claiming.BeingSent:
        wait = SOON
    except StripeRefused as refusal:
        if not _is_customer_gone(invoice, refusal):
            invoice.retry_later(refusal)
            raise
        # What it claimed is for an invoice of the next customer, or is written off.
        claiming.release(invoice, "its customer is deleted at Stripe")
        wait = None
    except Exception as error:
        invoice.retry_later(error if isinstance(error, GatewayError) else type(error).__name__)
        raise
    if wait is not None:
        invoice.release("", not_before=timezone.now() + wait)
    return True


def _is_customer_gone(invoice: Invoice, refusal: StripeRefused) -> bool:
    """Whether a draft cannot be made, or corrected, any more."""
    try:
        return (
            refusal.is_missing
            and Invoice.objects.drafts().filter(pk=invoice.pk).exists()
            and not customers.exists(invoice.customer_id)
        )
    except GatewayError:
        # The next try asks again.
        return False


def _step(invoice: Invoice) -> timedelta | None:
    """What is to be done now; returns how long to wait for the next step, None where none follows."""
    if not invoice.stripe_id:
        made = invoices.create(
            customer_id=invoice.customer_id,
            reference=str(invoice.reference),
            subscription_id=invoice.subscription_id,
        )
        Invoice.objects.filter(pk=invoice.pk, stripe_id=None).update(
            stripe_id=made.id, created_at=made.created
        )
        invoice.refresh_from_db()
    found = reading.read(invoice)
    if found is None:
        claiming.release(invoice, "deleted at Stripe")
        return None
    invoice, at = found
    if at.status != Invoice.Status.DRAFT:
        close(invoice, at)
        return None
    if invoice.kind == Invoice.Kind.MANUAL:
        return LATER
    return _settle(invoice, at)


def _settle(invoice: Invoice, at: StripeInvoice) -> timedelta | None:
    if at.finalizes_at:
        invoices.hold(at.id)
    if invoice.finalizes_at or invoice.kind in Invoice.OWN:
        Invoice.objects.filter(pk=invoice.pk).update(held=True)
        invoice.held = True
    settles_at = reading.settles_at(invoice.created_at, invoice.finalizes_at)
    if invoice.kind in Invoice.OWN:
        settles_at = invoice.created_at
    now = timezone.now()
    if now < settles_at:
        return settles_at - now
    row = Subscription.objects.filter(pk=invoice.organization_id).exclude(customer_id=None).first()
    if row and (row.invoices_read_at is None or row.invoices_read_at < invoice.created_at):
        # What older invoices bill must be claimed by them, also those that a restored backup does not know.
        read_all(row)
    batching.seal(invoice.organization)
    reading.set_period(invoice, invoices.lines_of(at.id))
    claiming.claim(invoice)
    has_caught_up = _compare(invoice)
    if invoice.kind == Invoice.Kind.PERIOD and not has_caught_up and now < settles_at + PATIENCE:
        return SOON
    invoices.correct(at.id, invoice.customer_id, _corrections(invoice))
    _compare(invoice)
    if wrong := [line for line in invoice.lines.all() if line.error_cents]:
        # A meter has counted in between.
        logger.info("draft changed", extra={"invoice": at.id, "prices": len(wrong)})
        return timedelta(seconds=1)
    if not invoice.held:
        return LATER
    close(invoice, invoices.finalize(at.id))
    return None


def _compare(invoice: Invoice) -> bool:
    """Write what the lines at Stripe say now; False where a meter has not caught up yet."""
    metered, ours, _ = reading.sort_lines(invoices.lines_of(str(invoice.stripe_id)))
    _write_lines(invoice, metered, ours)
    late = timezone.now() - LAG
    for line in invoice.lines.all():
        young = line.batches.filter(state=UsageBatch.State.ACCEPTED, done_at__gt=late)
        if line.stripe_quantity < line.quantity and young.exists():
            return False
    return True


def _write_lines(
    invoice: Invoice, metered: dict[int, tuple[int, int]], ours: dict[int, int]
) -> None:
    for price_id in {price for price, (images, cents) in metered.items() if images or cents} | {
        *ours
    }:
        claiming.line_of(invoice, price_id)
    for line in invoice.lines.all():
        line.stripe_quantity, line.stripe_cents = metered.get(line.price_id, (0, 0))
        line.correction_cents = ours.get(line.price_id, 0)
        line.save(update_fields=["stripe_quantity", "stripe_cents", "correction_cents"])


def _corrections(invoice: Invoice) -> list[Correction]:
    """One for each line: what is missing in Stripe's own, or too much."""
    return [
        Correction(
            name=line.price.metered.event_name,
            cents=line.target_cents - line.stripe_cents,
            description=describe(line),
        )
        for line in invoice.lines.select_related("price__metered", "invoice")
    ]


def describe(line: InvoiceLine) -> str:
    """Our item as its customer reads it."""
    images = line.quantity - line.stripe_quantity
    price = line.price
    each = f"{title_of(price.model, price.size)} (at {dollars(price.amount_micros)} / image)"
    noun = "image" if abs(images) == 1 else "images"
    if line.invoice.kind in Invoice.OWN or images > 0:
        text = f"{images} {noun} × {each}"
        if line.invoice.kind == Invoice.Kind.PERIOD:
            text += ", which are not in the line above"
    elif images < 0:
        text = f"{images} {noun} × {each}, which other invoices bill".replace(
            "-", "\N{MINUS SIGN}", 1
        )
    else:
        text = f"Rounding: {each}"
    if line.carried_cents:
        text += ", and what earlier invoices billed too " + (
            "little" if line.carried_cents > 0 else "much"
        )
    return text


def close(invoice: Invoice, at: StripeInvoice) -> None:
    """Keep what a final invoice says: it never changes any more. What it bills wrongly is left to the next one.

    Raises:
        GatewayError
    """
    lines = list(invoices.lines_of(at.id))
    metered, ours, _ = reading.sort_lines(lines)
    with transaction.atomic():
        # As everywhere: the organization first.
        Organization.objects.select_for_update(no_key=True).get(pk=invoice.organization_id)
        row = Invoice.objects.select_for_update(no_key=True).get(pk=invoice.pk)
        if not row.is_final:
            row.status, row.number = Invoice.Status(at.status), at.number
            row.finalized_at = at.finalized_at or timezone.now()
            if not row.lines.filter(batches__isnull=False).exists():
                reading.set_period(row, lines)
                claiming.claim(row)
            _write_lines(row, metered, ours)
            row.total_cents, row.tax_cents = at.total_cents, at.tax_cents
            row.due_cents = at.asked_cents
            billed = sum(line.billed_cents for line in row.lines.all())
            row.other_cents = at.total_cents - at.tax_cents - billed
            row.done_at, row.claimed_until, row.note = timezone.now(), None, ""
            row.save()
            payments.book_final(row)
    invoice.refresh_from_db()
    payments.record(invoice)
    if invoice.kind == Invoice.Kind.LEFTOVER and invoice.total_cents < 0:
        # No invoice is to come that would take it, and nothing sends it to a card by itself.
        notices.note_failure(
            "A customer without a subscription was billed too much, which is left on the balance at Stripe",
            organization=invoice.organization_id,
            detail=f"{invoice}: {dollars_of_cents(-invoice.total_cents)}",
        )
    wrong = [line for line in invoice.lines.all() if line.error_cents]
    if wrong and invoice.status != Invoice.Status.VOID:
        logger.warning("final invoice differs", extra={"invoice": at.id, "prices": len(wrong)})


def take_note(at: StripeInvoice, asked_at: datetime) -> Invoice | None:
    """Our row of an invoice that Stripe has shown when it was asked then; a draft is held at once, and what was paid
    on a final one is in the ledger.

    Raises:
        GatewayError: the next step is taken later.
    """
    organization = reading.organization_of(at.customer_id)
    if organization is None:
        return None
    invoice = reading.take(at, organization, asked_at)
    if invoice.done_at is None and (not invoice.held or at.status != Invoice.Status.DRAFT):
        try:
            process(invoice)
        except StripeRefused:
            logger.info("invoice is tried again", extra={"invoice": at.id})
        invoice.refresh_from_db()
    elif invoice.is_final and not _is_settled(invoice, at):
        payments.record(invoice)
    return invoice


def _is_settled(invoice: Invoice, at: StripeInvoice) -> bool:
    """Whether the ledger has all that was paid."""
    return at.status == Invoice.Status.PAID and at.paid_cents == invoice.paid_cents


def read_all(row: Subscription) -> list[StripeInvoice]:
    """Take note of all invoices of the organization's customer, the oldest first; returns them.

    Raises:
        GatewayError
    """
    began = timezone.now()
    found = list(invoices.all_of(str(row.customer_id)))[::-1]
    for at in found:
        take_note(at, began)
    Subscription.objects.filter(pk=row.pk).update(invoices_read_at=began)
    return found


def look_for_drafts() -> int:
    """Take note of drafts that no webhook told of; returns how many there were.

    Raises:
        GatewayError
    """
    asked_at = timezone.now()
    known = set(Invoice.objects.filter(done_at=None).values_list("stripe_id", flat=True))
    unknown = [at for at in invoices.drafts() if at.id not in known]
    return sum(take_note(at, asked_at) is not None for at in unknown)
