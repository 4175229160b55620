"""What happens to a charge afterward: disputes and warnings."""

import pytest

from tools.stripe_sandbox.tests.conftest import Shop


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
    assert shop.kinds()[-2:] == ["charge.dispute.created", "charge.dispute.closed"]
    with pytest.raises(AssertionError, match="already closed"):
        shop.sandbox.close_dispute(key, status)


def test_a_bank_warns(shop: Shop, charge: str) -> None:
    key = shop.sandbox.fraud_warning(charge)["id"]
    assert shop.api.radar.early_fraud_warnings.retrieve(key).charge == charge
    assert shop.kinds()[-1] == "radar.early_fraud_warning.created"
