"""Use, batches and invoices written by hand, as settlement leaves them: for what only reads them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Sum
from django.db.models.functions import TruncHour

from accounts.models import ApiKey, Organization
from billing.ledger import pricing
from billing.models import (
    Hold,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    Price,
    UsageBatch,
    UsageHour,
)
from tests.cast import Person

MARCH = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, 9, 30, tzinfo=UTC)
Account, Kind, Payer = LedgerEntry.Account, LedgerEntry.Kind, Hold.Payer


def price_of(size: str) -> Price:
    return pricing.price_of(model=pricing.DEFAULT_MODEL, size=size)


def used(
    person: Person,
    size: str,
    images: int,
    at: datetime,
    *,
    payer: str = Payer.SUBSCRIPTION,
    every: timedelta = timedelta(minutes=1),
    key: ApiKey | None = None,
) -> list[Hold]:
    """Images delivered from then on, and their charges; `hours` sums them up."""
    price = price_of(size)
    moments = [at + every * number for number in range(images)]
    holds = Hold.objects.bulk_create(
        Hold(
            organization=person.organization,
            api_key=key or person.key,
            payer=payer,
            price=price,
            amount_micros=price.amount_micros,
            month=at.date().replace(day=1),
            reserved_micros=price.amount_micros,
            cap_micros=price.amount_micros,
            state=Hold.State.CAPTURED,
            ended_at=moment,
        )
        for moment in moments
    )
    debit = Account.RECEIVABLE if payer == Payer.SUBSCRIPTION else Account.CUSTOMER_CREDIT
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            organization=person.organization,
            kind=Kind.CAPTURE,
            debit=debit,
            credit=Account.REVENUE,
            amount_micros=price.amount_micros,
            hold=hold,
            created_at=hold.ended_at,
        )
        for hold in holds
    )
    hours(person.organization)
    return holds


def hours(organization: Organization) -> None:
    """The sums of hours, from the ledger's charges."""
    UsageHour.objects.filter(organization=organization).delete()
    rows = (
        LedgerEntry.objects.filter(organization=organization, kind=Kind.CAPTURE)
        .annotate(hour=TruncHour("created_at", tzinfo=UTC))
        .values("hour", "hold__api_key", "hold__price", "hold__payer")
        .annotate(images=Count("pk"), micros=Sum("amount_micros"))
        .order_by()
    )
    UsageHour.objects.bulk_create(
        UsageHour(
            organization=organization,
            hour=row["hour"],
            key=row["hold__api_key"] or 0,
            price_id=row["hold__price"],
            payer=row["hold__payer"],
            images=row["images"],
            micros=row["micros"],
        )
        for row in rows
    )


def batch(
    holds: list[Hold], *, metered: bool = True, line: InvoiceLine | None = None
) -> UsageBatch:
    """These images in one batch, which Stripe's meter has counted, or not."""
    moments = [hold.ended_at for hold in holds]
    fields: dict[str, Any] = {"state": UsageBatch.State.UNMETERED}
    if metered:
        fields = {
            "state": UsageBatch.State.ACCEPTED,
            "timestamp": max(moments),
            "first_tried_at": max(moments),
            "customer_id": "cus_1",
            "tries": 1,
            "done_at": max(moments),
        }
    sealed = UsageBatch.objects.create(
        organization=holds[0].organization,
        price=holds[0].price,
        quantity=len(holds),
        first_captured_at=min(moments),
        last_captured_at=max(moments),
        invoice_line=line,
        **fields,
    )
    Hold.objects.filter(pk__in=[hold.pk for hold in holds]).update(usage_batch=sealed)
    return sealed


def invoice(person: Person, number: str, **fields: Any) -> Invoice:
    """A paid invoice of March, unless the fields say otherwise."""
    known: dict[str, Any] = {
        "kind": Invoice.Kind.PERIOD,
        "stripe_id": f"in_{number}",
        "customer_id": "cus_1",
        "number": number,
        "status": Invoice.Status.OPEN,
        "period_start": MARCH,
        "period_end": APRIL,
        "held": True,
    } | fields
    known.setdefault("created_at", known["period_end"])
    if known["status"] not in {Invoice.Status.DRAFT, Invoice.Status.DELETED}:
        known.setdefault("finalized_at", known["period_end"] + timedelta(hours=1))
        known.setdefault("done_at", known["finalized_at"])
    return Invoice.objects.create(organization=person.organization, **known)


def claim(
    of: Invoice, batches: Iterable[UsageBatch], *, stripe_images: int = 0, **fields: Any
) -> InvoiceLine:
    """A line of the invoice that claims the batches, all of one price; its correction makes it right."""
    claimed = list(batches)
    price = claimed[0].price
    quantity = sum(each.quantity for each in claimed)
    cents = rounded_cents(quantity * price.amount_micros)
    stripe_cents = rounded_cents(stripe_images * price.amount_micros)
    carried = fields.get("carried_cents", 0)
    known = {"correction_cents": cents + carried - stripe_cents} | fields
    line = InvoiceLine.objects.create(
        invoice=of,
        price=price,
        quantity=quantity,
        claimed_cents=cents,
        stripe_quantity=stripe_images,
        stripe_cents=stripe_cents,
        **known,
    )
    UsageBatch.objects.filter(pk__in=[each.pk for each in claimed]).update(invoice_line=line)
    return line


def rounded_cents(micros: int) -> int:
    """Half up."""
    return (micros + 5_000) // 10_000


def close(of: Invoice, *, tax: int = 0, other: int = 0, credit: int = 0, paid: int = 0) -> None:
    """Write the invoice's sums, in cents, and what was paid; `credit` is what the balance took off."""
    lines = sum(line.billed_cents for line in of.lines.all())
    of.tax_cents, of.other_cents, of.paid_cents = tax, other, paid
    of.total_cents = lines + tax + other
    of.due_cents = of.total_cents - credit
    if paid and paid == of.due_cents:
        of.status = Invoice.Status.PAID
    of.save()
    if paid:
        post(of, Kind.PAYMENT, Account.STRIPE, Account.RECEIVABLE, paid)


def post(of: Invoice, kind: str, debit: str, credit: str, cents: int, **fields: Any) -> LedgerEntry:
    """An entry about the invoice."""
    fields = {"created_at": of.finalized_at} | fields
    return LedgerEntry.objects.create(
        organization=of.organization,
        invoice=of,
        kind=kind,
        debit=debit,
        credit=credit,
        amount_micros=cents * 10_000,
        **fields,
    )
