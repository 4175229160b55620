"""Invoices of a dollar, paid and not paid."""

from typing import Any

import pytest

from billing.models import Invoice, Subscription
from tests.billing.payments.books import check_sums, look
from tests.cast import Person, make_owner
from tests.payment import bill, buy, subscribe
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


@pytest.fixture
def unpaid(stripe_here: StripeSandbox, db: None) -> Invoice:
    """An invoice of a dollar, whose card was declined."""
    bob = make_owner("Bob", credit_micros=0)
    row = subscribe(bob, stripe_here, card=DECLINED)
    buy(bob, "1024x1024", 50)
    return look(stripe_here, bill(stripe_here, row))
