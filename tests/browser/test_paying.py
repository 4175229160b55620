"""From the used-up trial to the card, the portal and the invoice, as an owner with a browser does it."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_first_picture import Visit
from tests.platform import Platform

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def shop(start_platform: Callable[..., Platform]) -> Platform:
    """Instant pictures and use that is reported every second."""
    return start_platform(INFERENCE_ENGINE="blank", USAGE_SEAL_SECONDS="1")


def sign_in(page: Page, email: str, password: str) -> None:
    page.goto("/login")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def draw(page: Page, pictures: int) -> None:
    for _ in range(pictures):
        page.goto("/playground")
        page.get_by_label("Prompt").fill("A lighthouse in the fog, watercolour")
        page.get_by_text("1024 × 1024", exact=True).click()
        page.keyboard.press("Control+Enter")
        expect(page.locator("#run.succeeded img")).to_be_visible(timeout=60_000)


def test_an_owner_adds_a_card_and_gets_an_invoice(browser: Browser, shop: Platform) -> None:
    made = shop.manage("create_account", "olga@example.com", "--credit-micros", "0", "--json")
    password = made.stdout.split('"password": "')[1].split('"')[0]
    visit = Visit(browser, shop)
    page = visit.page
    sign_in(page, "olga@example.com", password)
    page.goto("/dashboard/billing")
    visit.look("billing-used-up")
    page.get_by_role("button", name="Continue to the card").click()
    expect(page).to_have_url(re.compile("/checkout/"))
    visit.look("sandbox-checkout")
    page.get_by_label("Name").fill("Olga")
    page.get_by_label("Postcode").fill("10115")
    page.get_by_role("button", name="Subscribe").click()
    expect(page.get_by_text("You are subscribed.")).to_be_visible()
    visit.look("billing-subscribed")
    draw(page, 2)
    page.goto("/dashboard/billing")
    visit.look("billing-active")
    page.get_by_role("button", name="Manage card and subscription").click()
    expect(page).to_have_url(re.compile("/portal/"))
    visit.look("sandbox-portal")
    page.goto(f"http://127.0.0.1:{shop.environment['STRIPE_SANDBOX_PORT']}/")
    visit.look("sandbox-operator")
    page.get_by_role("button", name="End period now").click()
    invoices = page.get_by_role("row")
    # The webhook comes within seconds.
    for _ in range(10):
        page.goto("/dashboard/billing/invoices")
        if invoices.count() == 3:
            break
        page.wait_for_timeout(1_000)
    expect(invoices).to_have_count(3)
    visit.look("invoices")
    assert visit.complaints == []
    visit.context.close()
