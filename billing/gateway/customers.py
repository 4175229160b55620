"""Customers, what they are led to (checkout, portal), and what stands on their account."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import stripe

from billing.gateway.client import calling
from billing.gateway.errors import StripeRefused


@dataclass(frozen=True)
class Checkout:
    """A checkout page; `url` only while it is open. `reference` is the organisation's, as we gave it."""

    id: str
    status: str
    url: str | None
    reference: str | None
    customer_id: str | None
    subscription_id: str | None


@dataclass(frozen=True)
class Invoice:
    """An invoice as its reader sees it; amounts in cents."""

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


def moment(seconds: int | None) -> datetime | None:
    """Stripe's seconds as a moment in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def id_of(thing: str | stripe.StripeObject | None) -> str | None:
    """The id of what Stripe gives as an id or, expanded, as an object."""
    if thing is None or isinstance(thing, str):
        return thing
    return str(thing["id"])


def dict_of(metadata: stripe.StripeObject | None) -> dict[str, str]:
    """Metadata as a plain dict; empty where there is none."""
    return metadata.to_dict() if metadata is not None else {}


def make_customer(*, reference: str, name: str, email: str) -> str:
    """The organisation's customer; asked twice with one reference, Stripe makes one. Returns its id."""
    with calling() as client:
        customer = client.v1.customers.create(
            {"name": name, "email": email, "metadata": {"organization": reference}},
            {"idempotency_key": f"customer:{reference}"},
        )
    return customer.id


def customer_exists(customer_id: str) -> bool:
    """Whether it is there and was not deleted."""
    try:
        with calling() as client:
            customer = client.v1.customers.retrieve(customer_id)
    except StripeRefused as refusal:
        if refusal.is_missing:
            return False
        raise
    return not getattr(customer, "deleted", False)


def begin_checkout(
    *, customer_id: str, reference: str, price_ids: list[str], success_url: str, cancel_url: str
) -> Checkout:
    """A page on which the customer enters a card and subscribes to these metered prices."""
    with calling() as client:
        session = client.v1.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": customer_id,
                "client_reference_id": reference,
                # Metered lines take no quantity: Stripe refuses one.
                "line_items": [{"price": price_id} for price_id in price_ids],
                "subscription_data": {"metadata": {"organization": reference}},
                "success_url": success_url,
                "cancel_url": cancel_url,
                "automatic_tax": {"enabled": True},
                "billing_address_collection": "required",
                "tax_id_collection": {"enabled": True},
                # Both of the above want to write on a customer that exists already.
                "customer_update": {"address": "auto", "name": "auto"},
            }
        )
    return checkout_of(session)


def find_checkout(checkout_id: str) -> Checkout:
    """The session as it is now.

    Raises:
        StripeRefused: there is none (`is_missing`).
    """
    with calling() as client:
        return checkout_of(client.v1.checkout.sessions.retrieve(checkout_id))


def expire_checkout(checkout_id: str) -> None:
    """Close an open session, so that only one of two can be completed; one that is closed stays so."""
    try:
        with calling() as client:
            client.v1.checkout.sessions.expire(checkout_id)
    except StripeRefused:
        return


def checkout_of(session: stripe.checkout.Session) -> Checkout:
    """Ours of theirs."""
    return Checkout(
        id=session.id,
        status=session.status or "",
        url=session.url,
        reference=session.client_reference_id,
        customer_id=id_of(session.customer),
        subscription_id=id_of(session.subscription),
    )


def open_portal(*, customer_id: str, return_url: str, configuration_id: str) -> str:
    """A fresh address of the portal for that customer; it works for a few minutes."""
    with calling() as client:
        session = client.v1.billing_portal.sessions.create(
            {
                "customer": customer_id,
                "return_url": return_url,
                "configuration": configuration_id,
            }
        )
    return session.url


def give_credit(*, customer_id: str, cents: int, description: str, reference: str, key: str) -> str:
    """Lower the customer's next invoice by that much, once for a reference. Returns the entry's id.

    Looked for first: an idempotency key lasts a day, and a refund may wait for longer.
    """
    with calling() as client:
        newest = client.v1.customers.balance_transactions.list(customer_id, {"limit": 100}).data
    for made in newest:
        if dict_of(made.metadata).get("refund") == reference:
            return made.id
    with calling() as client:
        made = client.v1.customers.balance_transactions.create(
            customer_id,
            {
                # Below zero is what we owe the customer.
                "amount": -cents,
                "currency": "usd",
                "description": description,
                "metadata": {"refund": reference},
            },
            {"idempotency_key": key},
        )
    return made.id


def bill_images(
    *,
    customer_id: str,
    subscription_id: str,
    quantity: int,
    cents: Decimal,
    description: str,
    reference: str,
    key: str,
) -> None:
    """Bill images that no subscription can, with an invoice of their own that is collected at once.

    What an earlier call of the same reference has made is found and not made again, for a fault of
    Stripe's may have come after the work was done.
    """
    with calling() as client:
        pending = client.v1.invoice_items.list({"customer": customer_id, "limit": 100}).data
    ours = [item for item in pending if dict_of(item.metadata).get("batch") == reference]
    if not ours:
        with calling() as client:
            made = client.v1.invoice_items.create(
                {
                    "customer": customer_id,
                    "currency": "usd",
                    "quantity": quantity,
                    "unit_amount_decimal": cents,
                    "description": description,
                    "metadata": {"batch": reference},
                },
                {"idempotency_key": f"{key}:item"},
            )
        ours = [made]
    if id_of(ours[0].invoice):
        return
    with calling() as client:
        # Checkout leaves the card with the subscription, and none with the customer.
        card = id_of(client.v1.subscriptions.retrieve(subscription_id).default_payment_method)
    with calling() as client:
        client.v1.invoices.create(
            {
                "customer": customer_id,
                "auto_advance": True,
                "pending_invoice_items_behavior": "include",
                **({"default_payment_method": card} if card else {}),
            },
            {"idempotency_key": f"{key}:invoice"},
        )


def invoices(
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
    return [invoice_of(invoice) for invoice in page.data], page.has_more


def find_invoice(invoice_id: str) -> Invoice:
    """The invoice as it is now.

    Raises:
        StripeRefused: there is none (`is_missing`).
    """
    with calling() as client:
        return invoice_of(client.v1.invoices.retrieve(invoice_id))


def invoice_of(invoice: stripe.Invoice) -> Invoice:
    """Ours of theirs."""
    details = invoice.parent.subscription_details if invoice.parent else None
    created = datetime.fromtimestamp(invoice.created, UTC)
    return Invoice(
        id=invoice.id,
        number=invoice.number or "",
        status=invoice.status or "draft",
        customer_id=id_of(invoice.customer) or "",
        subscription_id=id_of(details.subscription) if details else None,
        created=created,
        period_end=moment(invoice.period_end),
        total_cents=invoice.total,
        due_cents=invoice.amount_remaining,
        page=invoice.hosted_invoice_url,
        pdf=invoice.invoice_pdf,
    )


def invoice_lines(invoice_id: str) -> Iterator[InvoiceLine]:
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


def customer_of_charge(charge_id: str) -> str | None:
    """Who was charged."""
    with calling() as client:
        return id_of(client.v1.charges.retrieve(charge_id).customer)


@dataclass(frozen=True)
class Dispute:
    """A charge that its payer contests; `status` is Stripe's (`won`, `lost`, `needs_response` ...)."""

    id: str
    status: str
    charge_id: str


def find_dispute(dispute_id: str) -> Dispute:
    """The dispute as it is now."""
    with calling() as client:
        dispute = client.v1.disputes.retrieve(dispute_id)
    return Dispute(dispute.id, dispute.status, id_of(dispute.charge) or "")


def charge_of_warning(warning_id: str) -> str | None:
    """The charge that an early fraud warning is about."""
    with calling() as client:
        return id_of(client.v1.radar.early_fraud_warnings.retrieve(warning_id).charge)
