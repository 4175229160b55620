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
