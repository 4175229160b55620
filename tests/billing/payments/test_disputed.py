"""The money of a disputed payment stands where it is, whatever the order of events."""

from dataclasses import replace

import pytest

from billing.gateway import payments
from billing.models import Invoice, LedgerEntry, Subscription
from billing.payments import disputed
from tests.billing.payments.books import balances, charge_of, kinds
from tests.payment import deliver
from tests.stripe_sandbox import StripeSandbox

PAID = {"revenue": -1_000_000, "stripe": 670_000, "fees": 330_000}
FEE = 15_000_000


def paid_micros() -> int:
    return Subscription.objects.get().paid_micros


def test_a_dispute_takes_the_money_until_it_is_won(
    paid: Invoice, stripe_here: StripeSandbox
) -> None:
    dispute = stripe_here.dispute(charge_of(paid))["id"]
    deliver(stripe_here, times=2)
    assert balances() == {
        "revenue": -1_000_000,
        "disputed": 1_000_000,
        "stripe": -330_000 - FEE,
        "fees": 330_000 + FEE,
    }
    assert paid_micros() == 0
    assert Subscription.objects.get().frozen_at
    stripe_here.close_dispute(dispute, "won")
    deliver(stripe_here, times=2)
    assert paid_micros() == 1_000_000
    assert not Subscription.objects.get().frozen_at
    fees = payments.find_dispute(dispute).fees_micros
    kept = sum(fees.values())
    assert balances() == PAID | {"stripe": 670_000 - kept, "fees": 330_000 + kept}
    entry = LedgerEntry.objects.get(kind="dispute_won")
    assert (entry.reference, entry.invoice) == (f"{dispute}:won", paid)


def test_a_lost_dispute_is_a_loss_also_where_only_its_end_was_seen(
    paid: Invoice, stripe_here: StripeSandbox
) -> None:
    stripe_here.close_dispute(stripe_here.dispute(charge_of(paid))["id"], "lost")
    deliver(stripe_here)
    assert balances()["losses"] == 1_000_000
    assert "disputed" not in balances()
    assert paid_micros() == 0
    assert [kind for kind, *_ in kinds()][2:4] == ["dispute", "dispute_lost"]


def test_a_lost_dispute_may_be_won_after_an_appeal(paid: Invoice) -> None:
    dispute = payments.Dispute("du_1", "lost", charge_of(paid), 100, {"txn_1": FEE})
    for status in ("lost", "appeal_under_review", "won", "won"):
        disputed.record(paid.organization, replace(dispute, status=status))
    assert balances() == PAID | {"stripe": 670_000 - FEE, "fees": 330_000 + FEE}
    assert paid_micros() == 1_000_000


@pytest.mark.parametrize("status", ["warning_needs_response", "warning_closed", "prevented"])
def test_an_inquiry_takes_no_money(paid: Invoice, status: str) -> None:
    disputed.record(paid.organization, payments.Dispute("du_1", status, charge_of(paid), 100, {}))
    assert balances() == PAID


def test_a_dispute_is_known_by_its_payment_where_the_customer_is_gone(
    paid: Invoice, stripe_here: StripeSandbox
) -> None:
    stripe_here.client().v1.customers.delete(paid.customer_id)
    deliver(stripe_here)
    stripe_here.dispute(charge_of(paid))
    deliver(stripe_here)
    assert balances()["disputed"] == 1_000_000
