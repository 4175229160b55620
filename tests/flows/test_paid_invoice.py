"""The whole money path over HTTP: sign-up, trial used up, checkout, twenty images, the invoice, paid.

Web, workers and the sandbox run as `make up` starts them; nothing in here reaches into their database
but `manage.py`.
"""

import http.cookiejar
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.policy import default
from typing import Any

import openai
import pytest
import stripe
from openai import OpenAI

from tests.platform import Platform

pytestmark = pytest.mark.flows

# Cents for each, and how many are bought on the card.
BOUGHT = {
    "512x512": (1.0, 6),
    "768x768": (1.5, 5),
    "1024x768": (1.8, 4),
    "768x1024": (1.8, 3),
    "1024x1024": (2.0, 2),
}
TRIAL_IMAGES = 3


class Browser:
    """A person's browser without scripts: cookies, redirects and forms."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        self.page = ""
        self.address = ""

    def open(self, address: str, form: dict[str, str] | None = None) -> str:
        """Follow a link, or send a form; returns the page that this leads to."""
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        address = urllib.parse.urljoin(self.address or self.base_url, address)
        request = urllib.request.Request(address, data, headers={"Referer": self.address})
        with self.opener.open(request, timeout=60) as answer:
            self.address = answer.url
            self.page = answer.read().decode()
        return self.page

    def submit(self, action: str, **fields: str) -> str:
        """Send the form of the present page that goes there, with what it holds already."""
        forms = re.findall(r"<form[^>]*post.*?</form>", self.page, re.DOTALL)
        # A form without an address goes to its own page.
        own = urllib.parse.urlsplit(self.address).path == action
        form = next(
            text
            for text in forms
            if f'action="{action}"' in text or (own and "action=" not in text)
        )
        held = {}
        for tag in re.findall(r"<input[^>]*>", form):
            name = re.search(r'name="([^"]+)"', tag)
            value = re.search(r'value="([^"]*)"', tag)
            radio = 'type="radio"' in tag and "checked" not in tag
            if name and not radio:
                held[name[1]] = value[1] if value else ""
        return self.open(action, held | fields)


@pytest.fixture(scope="module")
def shop(start_platform: Callable[..., Platform]) -> Platform:
    """A platform with a small trial, instant pictures, and use that is reported every second."""
    return start_platform(
        INFERENCE_ENGINE="blank",
        TRIAL_CREDIT_MICROS=str(TRIAL_IMAGES * 20_000),
        USAGE_SEAL_SECONDS="1",
    )


def mails_to(shop: Platform, address: str) -> Iterator[Any]:
    """The newest first."""
    for path in sorted((shop.var_dir / "mail").glob("*.eml"), reverse=True):
        mail = message_from_bytes(path.read_bytes(), policy=default)
        if mail["To"] == address:
            yield mail


def has_mail(shop: Platform, address: str, words: str) -> bool:
    return any(words in mail["Subject"] for mail in mails_to(shop, address))


def sandbox(shop: Platform, path: str, body: dict[str, Any] | None = None) -> Any:
    """A control of the sandbox that runs there."""
    port = shop.environment["STRIPE_SANDBOX_PORT"]
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/sandbox/{path}", data)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def stripe_of(shop: Platform) -> stripe.StripeClient:
    base = f"http://127.0.0.1:{shop.environment['STRIPE_SANDBOX_PORT']}"
    secret = (shop.var_dir / "secrets" / "STRIPE_SECRET_KEY").read_text().strip()
    addresses: Any = dict.fromkeys(("api", "connect", "files", "meter_events"), base)
    return stripe.StripeClient(f"sk_test_sandbox_{secret}", base_addresses=addresses)


def sign_up(shop: Platform, browser: Browser, email: str) -> str:
    """Through the pages and the mail; returns an API key."""
    browser.open("/signup")
    browser.submit("/signup", email=email, password1="a lighthouse in the fog")
    shop.wait_for(lambda: [*mails_to(shop, email)], "mailed the link")
    [mail] = mails_to(shop, email)
    link = re.search(rf"{shop.base_url}/verify-email/\S+", mail.get_body().get_content())
    assert link
    browser.open(link[0])
    browser.submit(urllib.parse.urlsplit(link[0]).path)
    browser.open("/dashboard/keys")
    browser.submit("/dashboard/keys", name="Laptop")
    key = re.search(r"eco_[0-9A-Za-z]{38}", browser.page)
    assert key
    return key[0]


def test_from_sign_up_to_a_paid_invoice(shop: Platform, request: pytest.FixtureRequest) -> None:
    email = "ivy@example.com"
    browser = Browser(shop.base_url)
    client = OpenAI(base_url=f"{shop.base_url}/v1", api_key=sign_up(shop, browser, email))
    request.addfinalizer(client.close)

    def draw(size: str) -> None:
        client.images.generate(model="flux-1-schnell", prompt="a lighthouse", size=size)

    # The trial is used up, and says so on the API, on the page and by mail.
    for _ in range(TRIAL_IMAGES):
        draw("1024x1024")
    with pytest.raises(openai.RateLimitError) as refused:
        draw("512x512")
    assert refused.value.code == "insufficient_quota"
    assert "Add a card" in str(refused.value)
    shop.wait_for(lambda: has_mail(shop, email, "credit"), "told that the trial ended")

    # To Stripe's page and back; served at once.
    browser.open("/dashboard/billing")
    browser.submit("/dashboard/billing/subscribe", limit="5.00")
    assert "/checkout/" in browser.address
    checkout = urllib.parse.urlsplit(browser.address).path
    browser.submit(checkout, **card_of(browser.page))
    assert browser.address.startswith(f"{shop.base_url}/dashboard/billing")
    assert "You are subscribed" in browser.page
    draw("1024x1024")

    for size, (_, images) in BOUGHT.items():
        for _ in range(images - (size == "1024x1024")):
            draw(size)
    stripe_client = stripe_of(shop)
    [customer] = stripe_client.v1.customers.list({"email": email}).data
    shop.wait_for(lambda: counted(shop, customer.id) == 20, "reported in full")

    # The period ends; the invoice has these images at these prices, and is paid.
    [subscription] = stripe_client.v1.subscriptions.list({"customer": customer.id}).data
    invoice_id = sandbox(shop, f"subscriptions/{subscription.id}/end-period", {})["id"]
    shop.wait_for(
        lambda: stripe_client.v1.invoices.retrieve(invoice_id).status == "paid", "paid", 60
    )
    invoice = stripe_client.v1.invoices.retrieve(invoice_id)
    lines = stripe_client.v1.invoices.line_items.list(invoice_id, {"limit": 100}).data
    billed = {
        re.search(r"\d+×\d+", line.description or "")[0].replace("×", "x"): (
            float(line.pricing.unit_amount_decimal),
            line.quantity,
        )
        for line in lines
    }
    assert billed == BOUGHT
    assert invoice.total == sum(round(cents * images) for cents, images in BOUGHT.values())

    # The dashboard shows it, and the books agree from the image to the invoice.
    page = browser.open("/dashboard/billing/invoices")
    assert str(invoice.number) in page
    assert "Paid" in page
    assert sandbox(shop, "requests")["refused"] == 0
    done = shop.manage("reconcile", check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "The books are right.")


def card_of(page: str) -> dict[str, str]:
    """What a person types on the checkout page: the good card is chosen already."""
    wanted = {"name": "Ivy", "postal_code": "10115", "country": "DE"}
    return {name: value for name, value in wanted.items() if f'name="{name}"' in page}


def counted(shop: Platform, customer: str) -> int:
    totals: dict[str, int] = sandbox(shop, "usage")["totals"].get(customer, {})
    return Counter(totals).total()
