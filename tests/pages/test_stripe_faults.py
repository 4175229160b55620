"""Paying while Stripe has a fault: the page says so within seconds, and the next try leads on."""

import pytest
from django.test import Client

from accounts.models import Organization
from tests.cast import Person
from tests.pages.paying import BILLING, SUBSCRIBE, said
from tests.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.usefixtures("one_try")

PROBLEM = "Stripe has a problem at the moment."
NOTHING = "Nothing was changed or charged; please try again in a minute."
CREATIONS = (
    *("/v1/customers", "/v1/products", "/v1/prices", "/v1/billing/meters"),
    *("/v1/billing_portal/configurations", "/v1/checkout/sessions"),
)


@pytest.mark.parametrize("fault", ["500", "accept_then_500", "accept_then_drop", "500_unstored"])
@pytest.mark.parametrize("path", CREATIONS)
def test_after_one_fault_the_next_try_leads_to_checkout(
    alice: Person, alice_client: Client, stripe_here: StripeSandbox, path: str, fault: str
) -> None:
    """J1 and J2: under the same idempotency key Stripe would answer the same 500 for a day."""
    stripe_here.fault(fault, path=f"^{path}$", method="POST", times=1)
    first = alice_client.post(SUBSCRIBE, {"limit": "12"}, follow=True)
    assert first.redirect_chain == [(BILLING, 302)]
    if fault != "accept_then_drop":
        assert said(first) == f"{PROBLEM} {NOTHING}"
    assert Organization.objects.get(pk=alice.organization.pk).monthly_cap_micros is None
    second = alice_client.post(SUBSCRIBE, {"limit": "12"})
    assert second.status_code == 303
    assert "/checkout/" in second["Location"]
    customers = stripe_here.client().v1.customers.list({"limit": 100}).data
    assert [each.email for each in customers] == [alice.user.email]
