"""Paying while Stripe has a fault: the page says so within seconds, and the next try leads on."""

import socket
from typing import Any

import pytest
from django.test import Client

from accounts.models import Organization
from billing.gateway import client as gateway
from billing.gateway import invoices
from billing.gateway.errors import StripeAway, StripeRefused
from billing.models import StripeObject
from billing.pages import invoices as invoice_pages
from billing.pages import stripe
from tests.cast import Person
from tests.pages.paying import (
    AWAY,
    BILLING,
    INVOICES,
    PORTAL,
    SUBSCRIBE,
    said,
    subscribed,
    text_of,
)
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


def test_a_page_waits_for_all_its_calls_together(
    alice: Person,
    alice_client: Client,
    stripe_here: StripeSandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new installation makes about thirty calls: a slow Stripe would hold the page for minutes."""
    monkeypatch.setattr(stripe, "PAGE_SECONDS", 0.6)
    stripe_here.fault("slow", seconds=0.2)
    first = alice_client.post(SUBSCRIBE, {"limit": "12"}, follow=True)
    assert said(first) == f"{AWAY} {NOTHING}"
    assert sum(stripe_here.requests()["requests"].values()) <= 4
    stripe_here.clear_faults()
    monkeypatch.setattr(stripe, "PAGE_SECONDS", 12)
    assert "/checkout/" in alice_client.post(SUBSCRIBE, {"limit": "12"})["Location"]
    # What the first one made is not made again.
    products = stripe_here.requests()["requests"]["POST /v1/products"]
    assert products == 5


def test_a_stripe_that_accepts_and_is_silent_holds_no_page(
    alice: Person, alice_client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tries of ten seconds each, without the limit."""
    for page in (stripe, invoice_pages):
        monkeypatch.setattr(page, "PAGE_SECONDS", 0.3)
    monkeypatch.setattr(gateway, "NETWORK_RETRIES", 2)
    gateway.client_for.cache_clear()
    subscribed(alice)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.STRIPE_API_BASE = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings.STRIPE_SECRET_KEY = "sk_test_1"
        StripeObject.objects.create(name="portal", stripe_id="bpc_1")
        assert AWAY in text_of(alice_client, INVOICES)
        assert said(alice_client.post(PORTAL, follow=True)) == f"{AWAY} {NOTHING}"
        silent.settimeout(0)
        for _ in (INVOICES, PORTAL):
            silent.accept()[0].close()
        # One try for each page.
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_the_limit_of_a_page_is_not_the_workers(stripe_here: StripeSandbox) -> None:
    with gateway.time_limit(5):
        assert 4 < gateway.seconds_left() <= 5
    assert gateway.seconds_left() is None
    with gateway.time_limit(0), pytest.raises(StripeAway, match="too long"):
        invoices.page_of("cus_1")
    with pytest.raises(StripeRefused):
        invoices.find("in_1")
