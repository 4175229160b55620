"""The customer portal: what may be done there, and sessions that lead to it."""

from typing import Any

from tools.stripe_sandbox import settings
from tools.stripe_sandbox.state import clock, documents
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused, absent
from tools.stripe_sandbox.state.store import Document

FEATURES: dict[str, dict[str, Any]] = {
    "customer_update": {"allowed_updates": [], "enabled": False},
    "invoice_history": {"enabled": False},
    "payment_method_update": {"enabled": False},
    "subscription_cancel": {
        "cancellation_reason": {"enabled": False, "options": []},
        "enabled": False,
        "mode": "at_period_end",
        "proration_behavior": "none",
    },
    "subscription_update": {
        "default_allowed_updates": [],
        "enabled": False,
        "products": [],
        "proration_behavior": "none",
    },
}


def create_configuration(call: Call) -> Document:
    configuration = documents.new_object(
        "billing_portal.configuration",
        "bpc",
        active=True,
        application=None,
        business_profile={
            "headline": None,
            "privacy_policy_url": None,
            "terms_of_service_url": None,
        },
        default_return_url=None,
        features=dict(FEATURES),
        is_default=False,
        login_page={"enabled": False, "url": None},
        name=None,
        updated=clock.now(),
    )
    params = call.params
    documents.update(configuration, params, "default_return_url", "metadata", "name")
    configuration["business_profile"] |= params.get("business_profile", {})
    for name, given in params["features"].items():
        configuration["features"][name] = FEATURES.get(name, {}) | given
    return call.db.add(configuration, configuration["created"])


def list_configurations(call: Call) -> Document:
    where = {name: call.params.get(name) for name in ("active", "is_default")}
    kind = "billing_portal.configuration"
    return documents.page(call.db, kind, call.params, "/v1/billing_portal/configurations", **where)


def create_session(call: Call) -> Document:
    """Without a configuration Stripe takes the one that was saved in its dashboard; here nobody saved one."""
    params = call.params
    if "customer" not in params:
        raise absent("customer")
    customer = documents.existing(call.db, "customer", params["customer"], "customer")
    if "configuration" not in params:
        raise Refused(
            "No configuration provided and your test mode default configuration has not been created. "
            "Provide a configuration or create your default by saving your customer portal settings in "
            "test mode at https://dashboard.stripe.com/test/settings/billing/portal.",
        )
    configuration = call.db.get(
        "billing_portal.configuration", params["configuration"], "configuration"
    )
    session = documents.new_object("billing_portal.session", "bps")
    del session["metadata"]
    session |= {
        "configuration": configuration["id"],
        "customer": customer["id"],
        "flow": None,
        "locale": None,
        "on_behalf_of": None,
        "return_url": params.get("return_url") or configuration["default_return_url"],
        "url": f"{settings.BASE_URL}/portal/{session['id']}",
    }
    return call.db.add(session, session["created"])
