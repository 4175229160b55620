"""The pages, as a browser without scripts would use them."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest

from tests.html import flat
from tools.stripe_sandbox.tests.conftest import Shop


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        return None


def visit(address: str, **form: str) -> tuple[int, str, str]:
    """Status, text, and where to go next."""
    data = urllib.parse.urlencode(form).encode() if form else None
    opener = urllib.request.build_opener(NoRedirect)
    try:
        with opener.open(address, data) as answer:
            return answer.status, flat(answer.read().decode()), ""
    except urllib.error.HTTPError as error:
        return error.code, flat(error.read().decode()), error.headers.get("Location", "")


def portal(shop: Shop, **features: Any) -> str:
    configuration = shop.api.billing_portal.configurations.create({"features": features})
    session = shop.api.billing_portal.sessions.create(
        {
            "customer": shop.customer.id,
            "configuration": configuration.id,
            "return_url": "http://shop.test/billing",
        }
    )
    return session.url


def test_checkout_shows_prices_takes_a_card_and_leads_back(shop: Shop) -> None:
    session = shop.checkout(cancel_url="http://shop.test/back")
    _, text, _ = visit(session.url)
    assert "no real card, no real money" in text and "$0.02" in text
    assert 'href="http://shop.test/back"' in text
    status, _, address = visit(
        session.url, card="4242424242424242", name="Alice", country="DE", postal_code="10115"
    )
    assert (status, address) == (303, f"http://shop.test/done?session={session.id}")
    assert "You are subscribed" in visit(session.url.split("#")[0])[1]


def test_checkout_says_that_a_card_was_declined_and_makes_nothing(shop: Shop) -> None:
    session = shop.checkout()
    status, text, _ = visit(session.url, card="4000000000000002", country="US")
    assert status == 402 and "Your card was declined" in text
    assert shop.api.subscriptions.list({"status": "all"}).data == []


def test_a_checkout_that_expired_says_so(shop: Shop) -> None:
    session = shop.checkout()
    shop.api.checkout.sessions.expire(session.id)
    assert "This checkout has expired" in visit(session.url)[1]
    assert visit(session.url, card="4242424242424242")[0] == 400


@pytest.mark.parametrize("place", ["checkout", "portal", "invoices"])
def test_a_page_of_nothing_is_not_found(shop: Shop, place: str) -> None:
    status, text, _ = visit(f"{shop.sandbox.base_url}/{place}/none")
    assert status == 404 and "There is nothing here" in text


def test_the_portal_ends_and_keeps_the_subscription(shop: Shop) -> None:
    subscription = shop.subscribe()
    url = portal(shop, subscription_cancel={"enabled": True})
    assert "http://shop.test/billing" in visit(url)[1]
    assert visit(url, do="cancel")[0] == 303
    assert shop.api.subscriptions.retrieve(subscription.id).cancel_at_period_end
    assert "Keep the subscription" in visit(url)[1]
    visit(url, do="keep")
    assert not shop.api.subscriptions.retrieve(subscription.id).cancel_at_period_end


def test_the_portal_changes_the_card(shop: Shop) -> None:
    subscription = shop.subscribe("4000000000000341")
    url = portal(shop, payment_method_update={"enabled": True})
    assert visit(url, do="card", card="4000000000000002")[0] == 402
    assert "ends in 0341" in visit(url)[1]
    visit(url, do="card", card="4242424242424242")
    assert "ends in 4242" in visit(url)[1]
    shop.owe(200)
    assert shop.bill(subscription.id)["status"] == "paid"


def test_the_portal_does_what_its_configuration_allows(shop: Shop) -> None:
    shop.subscribe()
    url = portal(shop, invoice_history={"enabled": True})
    assert "Cancel" not in visit(url)[1]
    assert visit(url, do="cancel")[0] == 400
    assert re.search(r"[0-9A-F]{8}-0001", visit(url)[1])


def test_an_open_invoice_is_paid_on_its_page(shop: Shop) -> None:
    subscription = shop.subscribe("4000002760003184")
    shop.use(1_234)
    url = shop.bill(subscription.id)["hosted_invoice_url"]
    _, text, _ = visit(url)
    assert "1234 image × images (at $0.02 / image)" in text and "Pay $24.68" in text
    assert visit(url, card="4000002760003184")[0] == 303
    assert "$24.68 paid on" in visit(url)[1]
    assert shop.api.subscriptions.retrieve(subscription.id).status == "active"


def test_an_uncollectible_invoice_is_paid_on_its_page_and_a_void_one_is_not(shop: Shop) -> None:
    subscription = shop.subscribe("4000000000000341")
    urls = []
    for verb in ("mark_uncollectible", "void_invoice"):
        shop.owe(200)
        invoice = shop.bill(subscription.id)
        getattr(shop.api.invoices, verb)(invoice["id"])
        urls.append(invoice["hosted_invoice_url"])
    assert "Pay $2.00" in visit(urls[0])[1] and "Pay $2.00" not in visit(urls[1])[1]
    assert [visit(url, card="4242424242424242")[0] for url in urls] == [303, 400]
    assert "$2.00 paid on" in visit(urls[0])[1]


def test_pages_say_when_a_draft_becomes_final_and_what_time_it_is(shop: Shop) -> None:
    draft = shop.sandbox.end_period(shop.subscribe().id)
    home, page = shop.sandbox.base_url, f"{shop.sandbox.base_url}/invoices/{draft['id']}"
    assert "final on" in visit(home)[1] and "until it is final, on" in visit(page)[1]
    assert "Its clock is ahead" not in visit(home)[1]
    shop.api.invoices.update(draft["id"], {"auto_advance": False})
    shop.sandbox.advance(86_400)
    assert "held" in visit(home)[1] and "Its seller decides" in visit(page)[1]
    assert "Its clock is ahead" in visit(home)[1]


def test_the_operator_sees_everything_and_can_press_every_button(shop: Shop) -> None:
    subscription = shop.subscribe("4000000000000341")
    shop.use(100)
    home = shop.sandbox.base_url

    def press(noun: str, key: str, verb: str, **form: str) -> int:
        return visit(f"{home}/operator/{noun}/{key}/{verb}", **(form or {"x": "1"}))[0]

    assert "$2.00 not billed yet" in visit(home)[1]
    assert press("subscriptions", subscription.id, "end-period") == 303
    invoice = shop.api.invoices.list().data[0]
    assert press("invoices", invoice.id, "finalize") == 303
    assert press("invoices", invoice.id, "retry-payment") == 303
    assert press("subscriptions", subscription.id, "give-up") == 303
    visit(invoice_url(shop, invoice.id), card="4242424242424242")
    charge = shop.api.charges.list().data[0]
    assert press("charges", charge.id, "fraud-warning") == 303
    assert press("charges", charge.id, "dispute") == 303
    assert press("charges", charge.id, "dispute") == 400
    dispute = next(each for each in shop.sandbox.events() if "dispute" in each["type"])
    key = json.loads(shop.sandbox.payload(dispute["id"])[0])["data"]["object"]["id"]
    assert press("disputes", key, "close", status="lost") == 303
    text = visit(home)[1]
    for word in ("charge.dispute.closed", "dispute: lost", "alice@example.com"):
        assert word in text


def invoice_url(shop: Shop, key: str) -> str:
    return shop.api.invoices.retrieve(key).hosted_invoice_url
