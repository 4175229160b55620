"""What is paid on an invoice stands in the ledger once, and so does what is given up."""

from typing import Any

import pytest
from django.db import transaction

from billing.models import Invoice, LedgerEntry, Notice, Price, Subscription
from billing.payments import invoices
from tests.at_once import at_once
from tests.billing.payments.books import balances, check_sums, kinds, look
from tests.cast import Person
from tests.payment import bill, buy
from tests.stripe_sandbox import StripeSandbox

DECLINED = "4000000000000341"


@pytest.fixture(autouse=True)
def _sums_are_right(db: None) -> Any:
    """Whatever a test does."""
    yield
    check_sums()


@pytest.fixture
def paid(subscriber: Person, stripe_here: StripeSandbox) -> Invoice:
    """An invoice of a dollar, paid by card."""
    buy(subscriber, "1024x1024", 50)
    return look(stripe_here, bill(stripe_here, Subscription.objects.get()))


def test_a_payment_and_its_fee_are_written_once(paid: Invoice) -> None:
    assert paid.paid_cents == paid.due_cents == 100
    for _ in range(3):
        invoices.record(paid)
    assert kinds() == [
        ("payment", "stripe", "receivable", 1_000_000),
        ("fee", "fees", "stripe", 330_000),
    ]
    assert balances() == {"revenue": -1_000_000, "stripe": 670_000, "fees": 330_000}
    assert Subscription.objects.get().paid_micros == 1_000_000
    entries = LedgerEntry.objects.filter(invoice=paid)
    assert {entry.reference.partition("_")[0] for entry in entries} == {"ch"}
