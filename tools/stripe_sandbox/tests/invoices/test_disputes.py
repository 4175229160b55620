"""What happens to a charge afterward: disputes and warnings."""

import pytest

from tools.stripe_sandbox.tests.conftest import Shop, refusal


@pytest.fixture
def charge(shop: Shop) -> str:
    """Of two dollars."""
    subscription = shop.subscribe()
    shop.owe(200)
    shop.bill(subscription.id)
    return shop.api.charges.list({"customer": shop.customer.id}).data[0].id


@pytest.mark.parametrize("status", ["won", "lost"])
def test_a_dispute_is_opened_and_closed(shop: Shop, charge: str, status: str) -> None:
    key = shop.sandbox.dispute(charge)["id"]
    assert shop.api.disputes.retrieve(key, {"expand": ["charge"]}).charge.disputed
    shop.sandbox.close_dispute(key, status)
    assert shop.api.disputes.retrieve(key).status == status
    assert shop.kinds()[-4 if status == "won" else -3 :] == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
        *(["charge.dispute.funds_reinstated"] if status == "won" else []),
    ]
    assert [each.id for each in shop.api.disputes.list({"charge": charge}).data] == [key]
    with pytest.raises(AssertionError, match="already closed"):
        shop.sandbox.close_dispute(key, status)


@pytest.mark.parametrize(("status", "nets"), [("won", [-1700, 200]), ("lost", [-1700])])
def test_a_dispute_takes_the_money_and_a_fee(
    shop: Shop, charge: str, status: str, nets: list[int]
) -> None:
    key = shop.sandbox.dispute(charge)["id"]
    shop.sandbox.close_dispute(key, status)
    moved = shop.api.disputes.retrieve(key).balance_transactions
    assert [each.net for each in moved] == nets
    assert (moved[0].type, moved[0].amount, moved[0].fee) == ("adjustment", -200, 1500)
    listed = shop.api.balance_transactions.list({"source": key}).data
    assert [each.net for each in listed] == nets[::-1]


def test_what_was_refunded_is_not_disputed_and_the_other_way_round(shop: Shop, charge: str) -> None:
    shop.api.refunds.create({"charge": charge, "amount": 50})
    dispute = shop.sandbox.dispute(charge)
    assert dispute["amount"] == 150
    with refusal(code="charge_disputed"):
        shop.api.refunds.create({"charge": charge})
    shop.sandbox.close_dispute(dispute["id"], "won")
    assert shop.api.refunds.create({"charge": charge}).amount == 150


def test_a_bank_warns(shop: Shop, charge: str) -> None:
    key = shop.sandbox.fraud_warning(charge)["id"]
    assert shop.api.radar.early_fraud_warnings.retrieve(key).charge == charge
    assert shop.kinds()[-1] == "radar.early_fraud_warning.created"
