"""Checkout sessions, by the API and as their page completes them."""

from typing import Any

import pytest

from tools.stripe_sandbox.tests.conftest import Shop, refusal


def test_a_completed_session_leaves_a_subscription_with_its_card_and_metadata(shop: Shop) -> None:
    data = {"metadata": {"organization": "org_1"}}
    session = shop.checkout(subscription_data=data)
    assert session.status == "open" and session.url.startswith(shop.sandbox.base_url)
    shop.sandbox.complete_checkout(session.id, name="Alice")
    found = shop.api.checkout.sessions.retrieve(
        session.id, {"expand": ["subscription", "line_items"]}
    )
    assert (found.status, found.client_reference_id) == ("complete", "org_1")
    assert found.subscription.metadata.to_dict() == {"organization": "org_1"}
    assert found.subscription.default_payment_method
    assert shop.kinds()[-1] == "checkout.session.completed"
    assert [item.price.id for item in found.line_items.data] == [shop.price.id]


def test_a_quantity_on_a_metered_price_is_refused(shop: Shop) -> None:
    with refusal(param="line_items[0][quantity]", text="Quantity should not be specified"):
        shop.checkout(line_items=[{"price": shop.price.id, "quantity": 1}])


@pytest.mark.parametrize(
    ("wish", "leave", "param"),
    [
        ("automatic_tax", {"address": "auto"}, "automatic_tax"),
        ("tax_id_collection", {"name": "auto"}, "tax_id_collection"),
    ],
)
def test_what_is_collected_of_a_customer_needs_leave_to_be_kept(
    shop: Shop, wish: str, leave: Any, param: str
) -> None:
    with refusal(param=param):
        shop.checkout(**{wish: {"enabled": True}})
    assert shop.checkout(**{wish: {"enabled": True}, "customer_update": leave}).status == "open"


def test_a_declined_card_makes_nothing(shop: Shop) -> None:
    session = shop.checkout()
    with pytest.raises(AssertionError, match="card_declined"):
        shop.sandbox.complete_checkout(session.id, card="4000000000000002")
    assert shop.api.checkout.sessions.retrieve(session.id).status == "open"
    assert shop.api.subscriptions.list({"status": "all"}).data == []
    assert shop.kinds() == ["customer.created"]


def test_an_expired_session_is_over(shop: Shop) -> None:
    session = shop.api.checkout.sessions.expire(shop.checkout().id)
    assert (session.status, session.url) == ("expired", None)
    assert shop.kinds()[-1] == "checkout.session.expired"
    with pytest.raises(AssertionError, match="expired"):
        shop.sandbox.complete_checkout(session.id)


@pytest.mark.parametrize(
    ("outcome", "status"), [("succeeded", "active"), ("failed", "incomplete_expired")]
)
def test_a_payment_may_be_told_after_the_session(shop: Shop, outcome: str, status: str) -> None:
    shop.sandbox.complete_checkout(shop.checkout().id, **{"async": outcome})
    (subscription,) = shop.api.subscriptions.list({"status": "all"}).data
    assert subscription.status == status
    assert f"checkout.session.async_payment_{outcome}" in shop.kinds()
