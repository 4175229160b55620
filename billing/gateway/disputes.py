"""Charges whose payer contests them, and warnings of fraud."""

from dataclasses import dataclass

from billing.gateway.client import calling
from billing.gateway.conversions import fee_micros_of, id_of


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


def find(dispute_id: str) -> Dispute:
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


def customer_of_charge(charge_id: str) -> str | None:
    """The id of the customer that was charged."""
    with calling() as client:
        return id_of(client.v1.charges.retrieve(charge_id).customer)


def charge_of_warning(warning_id: str) -> str | None:
    """The charge that an early fraud warning is about."""
    with calling() as client:
        return id_of(client.v1.radar.early_fraud_warnings.retrieve(warning_id).charge)
