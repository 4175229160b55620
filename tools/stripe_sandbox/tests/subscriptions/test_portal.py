"""Configurations of the customer portal, and sessions that lead to it."""

from tools.stripe_sandbox.tests.conftest import Shop, refusal


def test_a_session_needs_a_configuration_as_long_as_no_default_was_saved(shop: Shop) -> None:
    with refusal(text="default configuration has not been created"):
        shop.api.billing_portal.sessions.create({"customer": shop.customer.id})
    configuration = shop.api.billing_portal.configurations.create(
        {
            "features": {"invoice_history": {"enabled": True}},
            "default_return_url": "http://shop.test/billing",
        }
    )
    assert configuration.features.invoice_history.enabled
    assert not configuration.features.subscription_cancel.enabled
    session = shop.api.billing_portal.sessions.create(
        {"customer": shop.customer.id, "configuration": configuration.id}
    )
    assert session.url.startswith(f"{shop.sandbox.base_url}/portal/")
    assert session.return_url == "http://shop.test/billing"


def test_a_configuration_is_changed_and_listed(shop: Shop) -> None:
    configurations = shop.api.billing_portal.configurations
    key = configurations.create(
        {"features": {"invoice_history": {"enabled": False}}, "metadata": {"by": "us"}}
    ).id
    changed = configurations.update(
        key, {"features": {"subscription_cancel": {"enabled": True, "mode": "at_period_end"}}}
    )
    assert changed.features.subscription_cancel.enabled
    configurations.update(key, {"active": False})
    assert configurations.list({"active": True}).data == []
    assert configurations.list({"active": False}).data[0].metadata.by == "us"
