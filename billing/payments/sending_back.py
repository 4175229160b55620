"""Which way a refund of what the subscription paid goes: off an invoice that is still to come, or to the cards that paid."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from django.db.models import F, Sum

from accounts.models import Organization
from billing.amounts import MICROS_PER_CENT
from billing.gateway import customers
from billing.gateway import payments as at_stripe
from billing.gateway.errors import StripeRefused
from billing.models import (
    Hold,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    LedgerQuerySet,
    Refund,
    Subscription,
    UsageBatch,
)
from billing.payments import refunded
from billing.payments.booking import Account, Kind

# Older payments are not looked at.
MOST_CHARGES = 50

Found = TypeVar("Found")


def way_of(organization: Organization, cents: int) -> Refund.To:
    """Where the customer gets so much: with the next invoice while there will be one, else on a card."""
    row: Subscription | None = getattr(organization, "subscription", None)
    if row is None or not row.customer_id:
        return Refund.To.CARD
    if row.is_live or to_come_micros(organization) >= cents * MICROS_PER_CENT:
        return Refund.To.BALANCE
    return Refund.To.CARD


def to_come_micros(organization: Organization) -> int:
    """What invoices will still bill that are not final, or not written yet."""
    batches = UsageBatch.objects.for_organization(organization).order_by()
    unclaimed = batches.filter(invoice_line=None, write_off=None)
    unsealed = Hold.objects.filter(
        organization=organization,
        payer=Hold.Payer.SUBSCRIPTION,
        state=Hold.State.CAPTURED,
        usage_batch=None,
    )
    drafted = InvoiceLine.objects.filter(
        invoice__organization=organization, invoice__status=Invoice.Status.DRAFT
    ).aggregate(cents=Sum(F("claimed_cents") + F("carried_cents")))["cents"]
    return (
        (unclaimed.aggregate(sum=Sum(F("quantity") * F("price__amount_micros")))["sum"] or 0)
        + (unsealed.aggregate(sum=Sum("amount_micros"))["sum"] or 0)
        + (drafted or 0) * MICROS_PER_CENT
    )


def card_payments(organization: Organization) -> LedgerQuerySet:
    """Entries of what cards have paid, the newest first."""
    # By invoice: an organization's own entries are mostly images.
    return LedgerEntry.objects.filter(
        invoice__organization=organization, kind=Kind.PAYMENT, debit=Account.STRIPE
    ).order_by("-created_at", "-pk")


@dataclass(frozen=True)
class Sent:
    """What earlier attempts have done at Stripe: a credit on the balance (its id, or nothing), cents to cards."""

    credit_id: str
    card_cents: int


def find_sent(refund: Refund) -> Sent:
    """What became of earlier attempts, whose answers may have been lost; what cards got is written to the ledger.

    Raises:
        GatewayError
    """
    card_cents = 0
    for charge_id in _charge_ids(refund):
        for sent in _or_none(at_stripe.refunds_of, charge_id) or []:
            if sent.reference == str(refund.reference):
                refunded.record_one(refund.organization, sent)
                card_cents += 0 if sent.came_back else sent.cents
    row: Subscription | None = getattr(refund.organization, "subscription", None)
    credit_id = None
    if row and row.customer_id:
        find = partial(customers.find_credit, reference=str(refund.reference))
        credit_id = _or_none(find, row.customer_id)
    return Sent(credit_id or "", card_cents)


def _or_none(ask: Callable[[str], Found], stripe_id: str) -> Found | None:
    """The answer; None where Stripe does not have the object (any more)."""
    try:
        return ask(stripe_id)
    except StripeRefused as refusal:
        if refusal.is_missing:
            return None
        raise


def to_cards(refund: Refund, cents: int) -> int:
    """Send so much back to the cards that paid, from the newest payment on; returns what none of them could get.

    Raises:
        GatewayError: nobody knows what became of a call; `find_sent` will.
    """
    for charge_id in _charge_ids(refund):
        if not cents:
            break
        try:
            part = min(cents, at_stripe.find(charge_id).left_cents)
            if not part:
                continue
            sent = at_stripe.send_back(
                charge_id=charge_id, cents=part, reference=str(refund.reference)
            )
        except StripeRefused:
            # Too old, disputed, or its customer is gone: an older payment may do.
            continue
        refunded.record_one(refund.organization, sent)
        if not sent.came_back:
            cents -= sent.cents
    return cents


def _charge_ids(refund: Refund) -> list[str]:
    payments = card_payments(refund.organization)[:MOST_CHARGES]
    return list(payments.values_list("reference", flat=True))
