"""Charges whose payer contests them, and warnings of fraud."""

from dataclasses import dataclass

from billing.gateway.client import calling
from billing.gateway.conversions import id_of


@dataclass(frozen=True)
class Dispute:
    """A charge that its payer contests; `status` is Stripe's (`won`, `lost`, `needs_response` ...)."""

    id: str
    status: str
    charge_id: str


def find(dispute_id: str) -> Dispute:
    """The dispute as it is now."""
    with calling() as client:
        dispute = client.v1.disputes.retrieve(dispute_id)
    return Dispute(dispute.id, dispute.status, id_of(dispute.charge) or "")


def customer_of_charge(charge_id: str) -> str | None:
    """The id of the customer that was charged."""
    with calling() as client:
        return id_of(client.v1.charges.retrieve(charge_id).customer)


def charge_of_warning(warning_id: str) -> str | None:
    """The charge that an early fraud warning is about."""
    with calling() as client:
        return id_of(client.v1.radar.early_fraud_warnings.retrieve(warning_id).charge)
