"""Money that cards paid on invoices: charges, what Stripe kept of them, what was sent back, what their banks contest."""

from collections.abc import Iterator
from dataclasses import dataclass

import stripe

from billing.gateway.client import calling
from billing.gateway.conversions import fee_micros_of, id_of, metadata_of
from billing.gateway.creating import find_or_create

# The metadata of a refund that we made: our reference.
OURS = "refund"


@dataclass(frozen=True)
class Charge:
    """Money that a card paid, in cents; `fee_micros` is None until Stripe has told its fee."""

    id: str
    customer_id: str | None
    cents: int
    refunded_cents: int
    fee_micros: int | None

    @property
    def left_cents(self) -> int:
        """What was not sent back to the card yet; of a disputed one Stripe may refuse it."""
        return self.cents - self.refunded_cents


@dataclass(frozen=True)
class CardRefund:
    """Money sent back to a card; `reference` is ours, and empty where it was made at Stripe by hand."""

    id: str
    charge_id: str
    cents: int
    status: str
    reference: str

    @property
    def came_back(self) -> bool:
        """Whether the card's bank did not take it, or it was stopped: the money is at Stripe again."""
        return self.status in {"failed", "canceled"}


@dataclass(frozen=True)
class Dispute:
    """A charge that its payer contests; `status` is Stripe's (`won`, `lost`, `needs_response` ...).

    `fees_micros` are Stripe's fees for it by the id of their balance transaction; below zero: given back.
    """

    id: str
    status: str
    charge_id: str
    cents: int
    fees_micros: dict[str, int]

    @property
    def took_money(self) -> bool:
        """Whether the bank has taken the money, if only for a time; an inquiry takes none.

        https://docs.stripe.com/disputes/how-disputes-work#inquiries
        """
        return not self.status.startswith("warning_") and self.status != "prevented"


def of_invoice(invoice_id: str) -> list[Charge]:
    """The charges that paid the invoice, or a part of it; what was paid outside Stripe is none.

    Raises:
        GatewayError
    """
    found: list[Charge] = []
    for payment in _payments_of(invoice_id):
        if payment.status != "paid":
            continue
        if intent := id_of(payment.payment.payment_intent):
            found += _charges_of(intent)
        elif charge := id_of(payment.payment.charge):
            found.append(find(charge))
    return found


def _payments_of(invoice_id: str) -> Iterator[stripe.InvoicePayment]:
    with calling() as client:
        invoice = client.v1.invoices.retrieve(invoice_id, {"expand": ["payments"]})
    payments = invoice.payments
    if payments is None:
        return
    yield from payments.data
    while payments.has_more:
        # The invoice itself has the first few alone.
        after = payments.data[-1].id
        with calling() as client:
            payments = client.v1.invoice_payments.list(
                {"invoice": invoice_id, "starting_after": after, "limit": 100}
            )
        yield from payments.data


def _charges_of(intent_id: str) -> list[Charge]:
    """Of an intent's attempts, the one that was paid."""
    with calling() as client:
        page = client.v1.charges.list(
            {"payment_intent": intent_id, "limit": 100, "expand": ["data.balance_transaction"]}
        )
    return [_charge(charge) for charge in page.data if charge.paid and charge.amount_captured]


def find(charge_id: str) -> Charge:
    """The charge as it is now.

    Raises:
        StripeRefused: there is none (`is_missing`).
    """
    with calling() as client:
        return _charge(client.v1.charges.retrieve(charge_id, {"expand": ["balance_transaction"]}))


def _charge(charge: stripe.Charge) -> Charge:
    return Charge(
        id=charge.id,
        customer_id=id_of(charge.customer),
        cents=charge.amount_captured,
        refunded_cents=charge.amount_refunded,
        fee_micros=fee_micros_of(charge.balance_transaction),
    )


def refunds_of(charge_id: str) -> list[CardRefund]:
    """All that was sent back of the charge, by us or by hand, the newest first."""
    with calling() as client:
        page = client.v1.refunds.list({"charge": charge_id, "limit": 100})
        return [_refund(refund) for refund in page.auto_paging_iter()]


def charge_of_refund(refund_id: str) -> str | None:
    """The charge of which the refund sent something back."""
    with calling() as client:
        return id_of(client.v1.refunds.retrieve(refund_id).charge)


def send_back(*, charge_id: str, cents: int, reference: str) -> CardRefund:
    """Send so much of the charge back to its card, once for a charge and reference.

    Raises:
        StripeRefused: the charge is too old, is disputed, or has not so much left.
    """

    def made_before() -> stripe.Refund | None:
        with calling() as client:
            page = client.v1.refunds.list({"charge": charge_id, "limit": 100})
            ours = (
                r for r in page.auto_paging_iter() if metadata_of(r.metadata).get(OURS) == reference
            )
            return next(ours, None)

    refund, _ = find_or_create(
        f"refund:{reference}:{charge_id}",
        find=made_before,
        create=lambda client, options: client.v1.refunds.create(
            {"charge": charge_id, "amount": cents, "metadata": {OURS: reference}}, options
        ),
        again=False,
    )
    return _refund(refund)


def _refund(refund: stripe.Refund) -> CardRefund:
    return CardRefund(
        id=refund.id,
        charge_id=id_of(refund.charge) or "",
        cents=refund.amount,
        status=refund.status or "succeeded",
        reference=metadata_of(refund.metadata).get(OURS, ""),
    )


def find_dispute(dispute_id: str) -> Dispute:
    """The dispute as it is now."""
    with calling() as client:
        dispute = client.v1.disputes.retrieve(dispute_id)
    return Dispute(
        id=dispute.id,
        status=dispute.status,
        charge_id=id_of(dispute.charge) or "",
        cents=dispute.amount,
        fees_micros={
            movement.id: fee_micros_of(movement) or 0 for movement in dispute.balance_transactions
        },
    )


def charge_of_warning(warning_id: str) -> str | None:
    """The charge that an early fraud warning is about."""
    with calling() as client:
        return id_of(client.v1.radar.early_fraud_warnings.retrieve(warning_id).charge)
