"""Invoices of a customer: read, and written for images that no subscription can bill."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import stripe

from billing.gateway.client import calling
from billing.gateway.conversions import datetime_of, id_of, metadata_of
from billing.gateway.creating import find_or_create


@dataclass(frozen=True)
class Invoice:
    """An invoice; `page` and `pdf` are the addresses at Stripe where its customer reads it."""

    id: str
    number: str
    status: str
    customer_id: str
    subscription_id: str | None
    created: datetime
    period_end: datetime | None
    total_cents: int
    due_cents: int
    page: str | None
    pdf: str | None


@dataclass(frozen=True)
class InvoiceLine:
    """Images on an invoice at one price, used from `start` to before `end`; `price_id` is Stripe's."""

    price_id: str
    quantity: int
    start: datetime
    end: datetime


def page_of(
    customer_id: str, *, limit: int = 24, after: str | None = None
) -> tuple[list[Invoice], bool]:
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


def find(invoice_id: str) -> Invoice:
    """The invoice as it is now.

    Raises:
        StripeRefused: there is none (`is_missing`).
    """
    with calling() as client:
        return _invoice(client.v1.invoices.retrieve(invoice_id))


def _invoice(invoice: stripe.Invoice) -> Invoice:
    details = invoice.parent.subscription_details if invoice.parent else None
    return Invoice(
        id=invoice.id,
        number=invoice.number or "",
        status=invoice.status or "draft",
        customer_id=id_of(invoice.customer) or "",
        subscription_id=id_of(details.subscription) if details else None,
        created=datetime.fromtimestamp(invoice.created, UTC),
        period_end=datetime_of(invoice.period_end),
        total_cents=invoice.total,
        due_cents=invoice.amount_remaining,
        page=invoice.hosted_invoice_url,
        pdf=invoice.invoice_pdf,
    )


def lines_of(invoice_id: str) -> Iterator[InvoiceLine]:
    """All lines that bill a price of the catalog."""
    after: str | None = None
    while True:
        with calling() as client:
            page = client.v1.invoices.line_items.list(
                invoice_id, {"limit": 100, **({"starting_after": after} if after else {})}
            )
        for line in page.data:
            after = line.id
            details = line.pricing.price_details if line.pricing else None
            if details:
                yield InvoiceLine(
                    price_id=id_of(details.price) or "",
                    quantity=line.quantity or 0,
                    start=datetime.fromtimestamp(line.period.start, UTC),
                    end=datetime.fromtimestamp(line.period.end, UTC),
                )
        if not page.has_more:
            return


def bill_images(
    *,
    customer_id: str,
    subscription_id: str,
    quantity: int,
    cents: Decimal,
    description: str,
    reference: str,
) -> None:
    """Bill images that no subscription can, with an invoice of their own that is collected at once.

    What an earlier call of the same reference has made is found and not made again, for a fault of
    Stripe's may have come after the work was done.
    """
    find_or_create(
        f"batch:{reference}:item",
        find=lambda: _item_of_batch(customer_id, reference),
        create=lambda client, options: client.v1.invoice_items.create(
            {
                "customer": customer_id,
                "currency": "usd",
                "quantity": quantity,
                "unit_amount_decimal": cents,
                "description": description,
                "metadata": {"batch": reference},
            },
            options,
        ),
        again=False,
    )

    def create_invoice(
        client: stripe.StripeClient, options: stripe.RequestOptions
    ) -> stripe.Invoice:
        # Checkout leaves the card with the subscription, and none with the customer.
        card = id_of(client.v1.subscriptions.retrieve(subscription_id).default_payment_method)
        return client.v1.invoices.create(
            {
                "customer": customer_id,
                "auto_advance": True,
                "pending_invoice_items_behavior": "include",
                **({"default_payment_method": card} if card else {}),
            },
            options,
        )

    find_or_create(
        f"batch:{reference}:invoice",
        find=lambda: _invoice_of_batch(customer_id, reference),
        create=create_invoice,
        again=False,
    )


def _item_of_batch(customer_id: str, reference: str) -> stripe.InvoiceItem | None:
    with calling() as client:
        page = client.v1.invoice_items.list({"customer": customer_id, "limit": 100})
        items = page.auto_paging_iter()
        ours = (item for item in items if metadata_of(item.metadata).get("batch") == reference)
        return next(ours, None)


def _invoice_of_batch(customer_id: str, reference: str) -> stripe.Invoice | None:
    item = _item_of_batch(customer_id, reference)
    invoice_id = id_of(item.invoice) if item else None
    if invoice_id is None:
        return None
    with calling() as client:
        return client.v1.invoices.retrieve(invoice_id)
