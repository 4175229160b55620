"""Balance transactions and refunds: from an invoice to what is left of its money."""

import pytest

from tools.stripe_sandbox.invoices import balance_transactions
from tools.stripe_sandbox.tests.conftest import Shop, refusal

DAY = 86_400


@pytest.fixture
def invoice(shop: Shop) -> str:
    """Of ten dollars, paid."""
    subscription = shop.subscribe()
    shop.owe(1_000)
    return str(shop.bill(subscription.id)["id"])


@pytest.fixture
def charge(shop: Shop, invoice: str) -> str:
    return str(shop.api.charges.list({"customer": shop.customer.id}).data[0].id)


@pytest.mark.parametrize(("amount", "fee"), [(1_000, 59), (500, 45), (50, 31), (1_500, 74)])
def test_a_charge_costs_a_share_and_thirty_cents(amount: int, fee: int) -> None:
    assert balance_transactions.charge_fee(amount) == fee


def test_the_way_from_an_invoice_to_its_money(shop: Shop, invoice: str) -> None:
    (payment,) = shop.api.invoice_payments.list({"invoice": invoice, "status": "paid"}).data
    intent = shop.api.payment_intents.retrieve(payment.payment.payment_intent)
    charge = shop.api.charges.retrieve(intent.latest_charge, {"expand": ["balance_transaction"]})
    booked = charge.balance_transaction
    assert (booked.amount, booked.fee, booked.net) == (1_000, 59, 941)
    assert (booked.type, booked.source, booked.currency) == ("charge", charge.id, "usd")
    assert [each.amount for each in booked.fee_details] == [59]
    assert shop.api.balance_transactions.retrieve(booked.id).net == 941
    expand = ["data.payment.payment_intent.latest_charge.balance_transaction"]
    (walked,) = shop.api.invoice_payments.list({"invoice": invoice, "expand": expand}).data
    assert walked.payment.payment_intent.latest_charge.balance_transaction.net == 941
    of_intent = {"payment": {"type": "payment_intent", "payment_intent": intent.id}}
    assert [each.id for each in shop.api.invoice_payments.list(of_intent).data] == [payment.id]


def test_money_is_available_after_two_days(shop: Shop, charge: str) -> None:
    (booked,) = shop.api.balance_transactions.list({"source": charge}).data
    assert booked.status == "pending"
    shop.sandbox.advance(2 * DAY)
    assert shop.api.balance_transactions.retrieve(booked.id).status == "available"


def test_a_charge_that_failed_moved_no_money(shop: Shop) -> None:
    subscription = shop.subscribe("4000000000000341")
    shop.owe(200)
    key = shop.bill(subscription.id)["id"]
    (charge,) = shop.api.charges.list().data
    assert charge.balance_transaction is None
    assert shop.api.balance_transactions.list().data == []
    assert shop.api.invoice_payments.list({"invoice": key}).data == []
    with refusal(text="was not paid"):
        shop.api.refunds.create({"charge": charge.id})


def test_a_charge_is_refunded_until_nothing_is_left(shop: Shop, charge: str) -> None:
    part = {"charge": charge, "amount": 300, "reason": "requested_by_customer"}
    first = shop.api.refunds.create(part | {"metadata": {"refund": "7"}})
    assert (first.status, first.amount, first.metadata["refund"]) == ("succeeded", 300, "7")
    found = shop.api.charges.retrieve(charge)
    assert (found.amount_refunded, found.refunded) == (300, False)
    assert shop.kinds()[-2:] == ["charge.refunded", "refund.created"]
    with refusal(param="amount"):
        shop.api.refunds.create({"charge": charge, "amount": 701})
    with refusal(param="amount"):
        shop.api.refunds.create({"charge": charge, "amount": 0})
    rest = shop.api.refunds.create({"payment_intent": found.payment_intent})
    found = shop.api.charges.retrieve(charge)
    assert (rest.amount, found.amount_refunded, found.refunded) == (700, 1_000, True)
    with refusal(code="charge_already_refunded"):
        shop.api.refunds.create({"charge": charge})
    with refusal(code="parameter_missing"):
        shop.api.refunds.create({})
    for params in ({"charge": charge}, {"payment_intent": found.payment_intent}):
        assert [each.amount for each in shop.api.refunds.list(params).data] == [700, 300]
    one = shop.api.refunds.retrieve(first.id, {"expand": ["balance_transaction", "charge"]})
    booked = one.balance_transaction
    assert (booked.type, booked.amount, booked.fee, booked.net) == ("refund", -300, 0, -300)
    assert one.charge.refunded
    sums = shop.api.balance_transactions.list({"type": "refund"}).data
    assert sum(each.net for each in sums) == -1_000
