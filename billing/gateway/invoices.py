"""Invoices at Stripe: read with their lines, corrected while they are drafts, and made final."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import stripe

from billing.gateway.client import calling
from billing.gateway.conversions import datetime_of, id_of, metadata_of
from billing.gateway.creating import find_or_create
from billing.gateway.errors import StripeRefused

# The members of metadata by which we find again what we have made.
OURS = "ecohash_invoice"
CORRECTS = "ecohash_price"


@dataclass(frozen=True)
class StripeInvoice:
    """An invoice as it is at Stripe now; `page` and `pdf` are the addresses where its customer reads it.

    `reference` is ours, where we made it. `finalizes_at` is when Stripe makes a draft final by itself; None
    where it does not. Amounts are whole cents.
    """

    id: str
    number: str
    status: str
    customer_id: str
    subscription_id: str | None
    reference: str | None
    created: datetime
    period_start: datetime | None
    period_end: datetime | None
    finalizes_at: datetime | None
    finalized_at: datetime | None
    total_cents: int
    tax_cents: int
    asked_cents: int
    due_cents: int
    paid_cents: int
    page: str | None
    pdf: str | None


@dataclass(frozen=True)
class StripeLine:
    """A line of an invoice: images of a metered price, a correction of ours, or something else.

    `price_id` is Stripe's, of a line that a subscription's item made; `corrects` names the price that an item
    of ours corrects.
    """

    price_id: str | None
    corrects: str | None
    quantity: int
    cents: int
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Correction:
    """What our item of one price on a draft is to say: an amount in cents, below zero too; 0: no item."""

    name: str
    cents: int
    description: str


def page_of(
    customer_id: str, *, limit: int = 24, after: str | None = None
) -> tuple[list[StripeInvoice], bool]:
    """A page of the customer's invoices, the newest first, and whether there are more."""
    with calling() as client:
        page = client.v1.invoices.list(
            {
                "customer": customer_id,
                "limit": limit,
                **({"starting_after": after} if after else {}),
            }
        )
    return [_invoice(invoice) for invoice in page.data], page.has_more


def all_of(customer_id: str) -> Iterator[StripeInvoice]:
    """All invoices of the customer, the newest first."""
    after: str | None = None
    more = True
    while more:
        page, more = page_of(customer_id, limit=100, after=after)
        yield from page
        after = page[-1].id if page else None
        more = more and bool(page)


def drafts() -> Iterator[StripeInvoice]:
    """All drafts of the account, whoever made them, the newest first."""
    with calling() as client:
        page = client.v1.invoices.list({"status": "draft", "limit": 100})
        for invoice in page.auto_paging_iter():
            yield _invoice(invoice)


def find(invoice_id: str) -> StripeInvoice:
    """The invoice as it is now.

    Raises:
        StripeRefused: there is none (`is_missing`).
    """
    with calling() as client:
        return _invoice(client.v1.invoices.retrieve(invoice_id))


def _invoice(invoice: stripe.Invoice) -> StripeInvoice:
    details = invoice.parent.subscription_details if invoice.parent else None
    moments = invoice.status_transitions
    return StripeInvoice(
        id=invoice.id,
        number=invoice.number or "",
        status=invoice.status or "draft",
        customer_id=id_of(invoice.customer) or "",
        subscription_id=id_of(details.subscription) if details else None,
        reference=metadata_of(invoice.metadata).get(OURS),
        created=datetime.fromtimestamp(invoice.created, UTC),
        period_start=datetime_of(invoice.period_start),
        period_end=datetime_of(invoice.period_end),
        finalizes_at=datetime_of(invoice.automatically_finalizes_at),
        finalized_at=datetime_of(moments.finalized_at),
        total_cents=invoice.total,
        tax_cents=sum(tax.amount for tax in invoice.total_taxes or []),
        asked_cents=invoice.amount_due,
        due_cents=invoice.amount_remaining,
        paid_cents=invoice.amount_paid,
        page=invoice.hosted_invoice_url,
        pdf=invoice.invoice_pdf,
    )


def lines_of(invoice_id: str) -> Iterator[StripeLine]:
    """All lines; of a draft as its meters count now."""
    after: str | None = None
    while True:
        with calling() as client:
            page = client.v1.invoices.line_items.list(
                invoice_id, {"limit": 100, **({"starting_after": after} if after else {})}
            )
        for line in page.data:
            after = line.id
            details = line.pricing.price_details if line.pricing else None
            yield StripeLine(
                price_id=id_of(details.price) if details else None,
                corrects=metadata_of(line.metadata).get(CORRECTS),
                quantity=line.quantity or 0,
                cents=line.amount,
                start=datetime.fromtimestamp(line.period.start, UTC),
                end=datetime.fromtimestamp(line.period.end, UTC),
            )
        if not page.has_more or after is None:
            return


def hold(invoice_id: str) -> StripeInvoice:
    """Stripe does not make the draft final by itself any more.

    Raises:
        StripeRefused: it is final.
    """
    with calling() as client:
        return _invoice(client.v1.invoices.update(invoice_id, {"auto_advance": False}))


def finalize(invoice_id: str) -> StripeInvoice:
    """Make the draft final, and let Stripe collect it as any other.

    Raises:
        StripeRefused: it is final, or cannot be yet.
    """
    with calling() as client:
        return _invoice(client.v1.invoices.finalize_invoice(invoice_id, {"auto_advance": True}))


def create(*, customer_id: str, reference: str, subscription_id: str = "") -> StripeInvoice:
    """A draft of our own without lines, once for a reference. Its card is that of the subscription."""

    def look() -> stripe.Invoice | None:
        with calling() as client:
            page = client.v1.invoices.list({"customer": customer_id, "limit": 100})
            ours = (
                each
                for each in page.auto_paging_iter()
                if metadata_of(each.metadata).get(OURS) == reference
            )
            return next(ours, None)

    card = _card_of(subscription_id) if subscription_id else None
    made, _ = find_or_create(
        f"invoice:{reference}",
        find=look,
        create=lambda client, options: client.v1.invoices.create(
            {
                "customer": customer_id,
                "currency": "usd",
                "auto_advance": False,
                "pending_invoice_items_behavior": "exclude",
                "metadata": {OURS: reference},
                **({"default_payment_method": card} if card else {}),
            },
            options,
        ),
        again=False,
    )
    return _invoice(made)


def _card_of(subscription_id: str) -> str | None:
    """Checkout leaves the card with the subscription, and none with the customer."""
    try:
        with calling() as client:
            found = client.v1.subscriptions.retrieve(subscription_id)
    except StripeRefused as refusal:
        if refusal.is_missing:
            return None
        raise
    return id_of(found.default_payment_method)


def correct(invoice_id: str, customer_id: str, corrections: list[Correction]) -> None:
    """Make our items on the draft say just that; what is right already is left alone.

    Raises:
        StripeRefused: the invoice is no draft any more.
    """
    have = _items_of(invoice_id)
    for correction in corrections:
        item = have.get(correction.name)
        if item is None:
            if correction.cents:
                _create_item(invoice_id, customer_id, correction)
        elif not correction.cents:
            with calling() as client:
                client.v1.invoice_items.delete(item.id)
        elif (item.amount, item.description) != (correction.cents, correction.description):
            with calling() as client:
                client.v1.invoice_items.update(
                    item.id, {"amount": correction.cents, "description": correction.description}
                )


def _items_of(invoice_id: str) -> dict[str, stripe.InvoiceItem]:
    """Our items on the invoice by the name of their price."""
    with calling() as client:
        page = client.v1.invoice_items.list({"invoice": invoice_id, "limit": 100})
        named = [
            (metadata_of(item.metadata).get(CORRECTS), item) for item in page.auto_paging_iter()
        ]
    return {name: item for name, item in named if name}


def _create_item(invoice_id: str, customer_id: str, correction: Correction) -> None:
    find_or_create(
        f"correction:{invoice_id}:{correction.name}",
        find=lambda: _items_of(invoice_id).get(correction.name),
        create=lambda client, options: client.v1.invoice_items.create(
            {
                "customer": customer_id,
                "invoice": invoice_id,
                "currency": "usd",
                "amount": correction.cents,
                "description": correction.description,
                "metadata": {CORRECTS: correction.name},
            },
            options,
        ),
    )
