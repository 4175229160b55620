"""Paying, as customers see it: the states of the billing page, the ways to Stripe and back, and its webhooks."""

import hashlib
import hmac
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Organization
from billing import refunds, tasks, webhook_events
from billing.amounts import dollars
from billing.gateway import client as gateway
from billing.gateway import invoices
from billing.gateway.errors import StripeRefused
from billing.ledger import budgets, period_to_date
from billing.models import LedgerEntry, Subscription, WebhookEvent
from billing.models.payment import GRACE, GRACE_ALLOWANCE_MICROS
from billing.pages import stripe, webhook
from billing.pages.forms import FIRST_CAP_MICROS
from billing.subscriptions import checkout, freezing
from billing.subscriptions.catalog import CatalogConflict
from tests import servers
from tests.cast import Person
from tests.html import flat
from tests.images import make
from tests.pages.paying import subscribed, without_credit
from tests.stripe_sandbox import StripeSandbox

BILLING = "/dashboard/billing"
SUBSCRIBE = f"{BILLING}/subscribe"
PORTAL = f"{BILLING}/portal"
INVOICES = f"{BILLING}/invoices"
SUBSCRIBED = f"{BILLING}/subscribed"
BACK = f"{BILLING}/back"
WEBHOOK = "/webhooks/stripe"
AWAY = "Stripe cannot be reached at the moment."
FORM = f'action="{SUBSCRIBE}"'
TO_PORTAL = f'action="{PORTAL}"'


@pytest.fixture
def stripe_away(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there."""
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{servers.free_port()}"
    monkeypatch.setattr(gateway, "NETWORK_RETRIES", 0)


def text_of(client: Client, path: str = BILLING, **query: str) -> str:
    """The page on one line."""
    answer = client.get(path, query)
    assert answer.status_code == 200
    return flat(answer.content.decode())


def said(answer: Any) -> str:
    """The one message of the page that a redirect led to."""
    [message] = answer.context["messages"]
    return str(message)


def cap_of(person: Person) -> int | None:
    return Organization.objects.get(pk=person.organization.pk).monthly_cap_micros


# --- what the billing page says -------------------------------------------------------------------


def test_with_credit_and_no_card_it_says_what_comes_after_and_offers_a_card(
    alice: Person, alice_client: Client
) -> None:
    page = text_of(alice_client)
    assert "Go on after the credit" in page
    assert "Add a card</summary>" in page
    assert FORM in page
    assert 'id="subscribe_limit"' in page
    assert "What happens when a payment fails" in page
    assert "Invoices" not in page


def test_when_the_credit_is_used_up_the_way_on_stands_open(paupers: Client) -> None:
    page = text_of(paupers)
    assert "There is no credit" in page
    assert FORM in page
    assert "<details" not in page[page.index("There is no credit") : page.index(FORM)]
    # One place to set the limit, not two that contradict each other.
    assert page.count('name="limit"') == 1


def test_credit_that_covers_no_picture_counts_as_used_up(
    alice: Person, alice_client: Client
) -> None:
    make.succeeded(alice)
    alice.organization.credit.granted_micros = 19_999
    alice.organization.credit.posted_micros = 10_000
    alice.organization.credit.save()
    assert "The credit is used up" in text_of(alice_client)
    assert "The credit is used up" in text_of(alice_client, "/dashboard")
    assert "No credit left" in text_of(alice_client, "/playground")


def test_the_limit_in_force_stands_in_the_form_or_fifty_dollars(
    alice: Person, alice_client: Client
) -> None:
    assert 'name="limit" value="50.00"' in text_of(alice_client)
    budgets.set_cap(organization=alice.organization, cap_micros=0)
    assert text_of(alice_client).count('value="0.00"') == 2


def test_a_subscriber_sees_the_period_its_forecast_and_the_next_invoice(
    alice: Person, alice_client: Client
) -> None:
    without_credit(alice)
    row = subscribed(alice)
    make.succeeded(alice)
    make.succeeded(alice)
    page = text_of(alice_client)
    assert "<dt>This period so far</dt><dd>$0.02</dd>" in page
    assert "2 images since" in page
    assert "<dt>At this pace</dt><dd>$0.06</dd>" in page
    assert f'<dt>Next invoice</dt><dd><time datetime="{row.period_end.isoformat()}' in page
    assert "used up; the card pays" in page
    assert TO_PORTAL in page
    assert FORM not in page
    assert "Laptop · invoice" in page


def test_what_credit_paid_is_on_no_invoice(alice: Person, alice_client: Client) -> None:
    subscribed(alice)
    make.succeeded(alice)
    page = text_of(alice_client)
    assert "<dt>This period so far</dt><dd>$0.00</dd>" in page
    assert "used first, before the card" in page
    assert "Laptop · credit" in page


def test_a_refund_lowers_the_next_invoice_and_stands_in_the_ledger(
    alice: Person, alice_client: Client
) -> None:
    without_credit(alice)
    subscribed(alice)
    hold = make.succeeded(alice).hold
    make.succeeded(alice)
    refunds.refund_image(hold=hold, reason="a torn picture", by="staff@example.com")
    page = text_of(alice_client)
    assert "<dt>This period so far</dt><dd>$0.01</dd>" in page
    assert "\N{MINUS SIGN}$0.010" in page
    assert "+$0.010" in page
    assert "a torn picture" in page
    assert "Off the next invoice" in page


def test_the_period_counts_neither_older_use_nor_that_of_others(
    alice: Person, charlie: Person
) -> None:
    without_credit(alice)
    without_credit(charlie)
    row = subscribed(alice)
    subscribed(charlie)
    make.succeeded(charlie)
    make.succeeded(alice)
    assert period_to_date.of(row).images == 1
    row.period_start = timezone.now()
    assert period_to_date.of(row).images == 0


@pytest.mark.parametrize("days", [0, 30, 40])
def test_there_is_no_forecast_on_the_first_day_or_after_the_last(alice: Person, days: int) -> None:
    start = timezone.now() - timedelta(days=days)
    row = subscribed(alice, period_start=start, period_end=start + timedelta(days=30))
    assert period_to_date.of(row).forecast_micros is None


def test_a_canceled_subscription_says_until_when_it_pays(
    alice: Person, alice_client: Client
) -> None:
    row = subscribed(alice, ends_at=timezone.now() + timedelta(days=20))
    page = text_of(alice_client)
    assert f'It ends on <time datetime="{row.ends_at.isoformat()}' in page
    assert "Last invoice" in page
    assert "Next invoice" not in page


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("canceled", "Your subscription ended on"),
        ("incomplete", "The first payment was not completed"),
        ("incomplete_expired", "The first payment was not completed"),
    ],
)
def test_after_the_end_one_can_subscribe_again(
    alice: Person, alice_client: Client, status: str, words: str
) -> None:
    without_credit(alice)
    subscribed(alice, status)
    page = text_of(alice_client)
    assert words in page
    assert FORM in page


def test_a_failed_payment_is_told_on_every_page_until_when_and_how_much(
    alice: Person, alice_client: Client, charlies: Client
) -> None:
    without_credit(alice)
    row = subscribed(alice, "past_due")
    make.succeeded(alice)
    for path in ("/dashboard", BILLING, "/dashboard/keys", "/dashboard/usage", "/playground"):
        page = text_of(alice_client, path)
        assert "A payment failed." in page
        assert f'datetime="{row.grace_ends_at.isoformat()}' in page
        assert "at most $4.99 more" in page
        assert TO_PORTAL in page
        assert "A payment failed." not in text_of(charlies, path)


def test_the_monthly_limit_may_be_tighter_than_the_grace(
    alice: Person, alice_client: Client
) -> None:
    without_credit(alice)
    subscribed(alice, "past_due")
    budgets.set_cap(organization=alice.organization, cap_micros=1_000_000)
    assert "at most $1.00 more" in text_of(alice_client)


@pytest.mark.parametrize(
    ("status", "since", "words"),
    [
        ("past_due", timedelta(days=8), "A payment is overdue."),
        ("unpaid", None, "A payment is overdue."),
        ("paused", None, "Your subscription is paused."),
    ],
)
def test_what_stops_the_work_says_so_and_leads_to_the_portal(
    alice: Person, alice_client: Client, status: str, since: timedelta | None, words: str
) -> None:
    without_credit(alice)
    subscribed(alice, status, past_due_since=timezone.now() - since if since else None)
    page = text_of(alice_client, "/dashboard/keys")
    assert words in page
    assert "New pictures are refused" in page
    assert TO_PORTAL in page
    assert "Nothing pays at the moment" in text_of(alice_client, "/playground")


def test_credit_still_pays_while_a_payment_is_overdue(alice: Person, alice_client: Client) -> None:
    subscribed(alice, "unpaid")
    assert "Credit of $0.500 still pays for new pictures" in text_of(alice_client)
    make.queued(alice)


def test_a_stopped_account_says_whom_to_ask_and_offers_no_checkout(
    alice: Person, alice_client: Client
) -> None:
    row = subscribed(alice, "canceled")
    freezing.freeze(row, because="dispute dp_1")
    page = text_of(alice_client)
    assert "New pictures are stopped,</strong>" in page
    assert "write to whoever runs this service" in page
    assert "dp_1" not in page
    assert FORM not in page


def test_home_and_playground_say_that_the_subscription_pays(
    alice: Person, alice_client: Client
) -> None:
    without_credit(alice)
    subscribed(alice)
    make.succeeded(alice)
    assert "<dt>Subscription</dt><dd>Active</dd>" in text_of(alice_client, "/dashboard")
    assert "Your subscription pays" in text_of(alice_client, "/playground")


def test_without_stripe_no_form_is_shown(settings: Any, paupers: Client) -> None:
    settings.STRIPE_SECRET_KEY = settings.STRIPE_API_BASE = ""
    settings.STRIPE_SANDBOX = False
    page = text_of(paupers)
    assert "Cards are not taken on this server. Write to whoever runs it" in page
    assert FORM not in page
    assert "sandbox" not in page
    assert "What happens when a payment fails" not in page
    answer = paupers.post(SUBSCRIBE, {"limit": "50"}, follow=True)
    assert "Payments are not set up correctly on this server" in said(answer)


def test_a_sandbox_says_that_no_money_moves(settings: Any, alice_client: Client) -> None:
    page = text_of(alice_client)
    assert "test cards only, no real money" in page
    assert f'href="{settings.STRIPE_API_BASE}"' in page


def test_who_left_the_checkout_is_told_that_nothing_is_charged(alice_client: Client) -> None:
    assert "You left the checkout" in text_of(alice_client, checkout="left")


def test_the_page_asks_little_however_much_it_says(
    alice: Person, alice_client: Client, django_assert_max_num_queries: Any
) -> None:
    budgets.set_cap(organization=alice.organization, cap_micros=5_000_000)
    subscribed(alice, "past_due")
    make.succeeded(alice)
    without_credit(alice)
    with django_assert_max_num_queries(12):
        alice_client.get(BILLING)


def test_docs_give_the_figures_that_hold(client: Client, db: None) -> None:
    words = f"{GRACE.days} days, for at most {dollars(GRACE_ALLOWANCE_MICROS)} more"
    page = text_of(client, "/docs")
    assert words in page
    assert f"${FIRST_CAP_MICROS // 1_000_000} unless you choose otherwise" in page
    assert words in (servers.ROOT / "docs" / "api.md").read_text()


# --- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"), [("post", SUBSCRIBE), ("post", PORTAL), ("get", INVOICES)]
)
def test_a_member_neither_pays_nor_sees_invoices(bobs: Client, method: str, path: str) -> None:
    answer = getattr(bobs, method)(path)
    assert answer.status_code == 403
    assert "Ask an owner, an admin or somebody with the billing role" in answer.content.decode()


def test_a_member_sees_no_way_to_pay(alice: Person, bobs: Client) -> None:
    assert FORM not in text_of(bobs)
    subscribed(alice, "past_due")
    page = text_of(bobs)
    assert TO_PORTAL not in page
    assert INVOICES not in page


@pytest.mark.parametrize("role", ["admin", "billing"])
def test_admins_and_the_billing_role_may_pay(bob: Person, bobs: Client, role: str) -> None:
    Membership.objects.filter(user=bob.user).update(role=role)
    assert FORM in text_of(bobs)
    assert "There is no card yet" in said(bobs.post(PORTAL, follow=True))


@pytest.mark.parametrize("path", [SUBSCRIBE, PORTAL])
def test_the_ways_to_stripe_are_forms_and_no_links(alice_client: Client, path: str) -> None:
    assert alice_client.get(path).status_code == 405


@pytest.mark.parametrize("path", [SUBSCRIBED, BACK, INVOICES])
def test_what_only_reads_takes_no_forms(alice_client: Client, path: str) -> None:
    assert alice_client.post(path).status_code == 405


# --- with Stripe away -----------------------------------------------------------------------------


@pytest.mark.usefixtures("stripe_away")
def test_while_stripe_is_away_subscribing_changes_nothing(
    alice: Person, alice_client: Client
) -> None:
    answer = alice_client.post(SUBSCRIBE, {"limit": "12"}, follow=True)
    assert answer.redirect_chain == [(BILLING, 302)]
    assert said(answer) == f"{AWAY} Nothing was changed; please try again in a minute."
    assert cap_of(alice) is None


@pytest.mark.usefixtures("stripe_away")
def test_while_stripe_is_away_the_other_ways_say_so(alice: Person, alice_client: Client) -> None:
    subscribed(alice)
    assert said(alice_client.post(PORTAL, follow=True)).startswith(AWAY)
    assert said(alice_client.get(BACK, follow=True)).startswith(AWAY)
    words = said(alice_client.get(SUBSCRIBED, {"checkout": "cs_1"}, follow=True))
    assert "If you finished the checkout, you are subscribed" in words


@pytest.mark.usefixtures("stripe_away")
def test_while_stripe_is_away_the_invoices_say_so_and_the_page_stands(
    alice: Person, alice_client: Client
) -> None:
    subscribed(alice)
    page = text_of(alice_client, INVOICES)
    assert AWAY in page
    assert "Your invoices are safe there" in page
    assert "<h1>Invoices</h1>" in page
    assert f'hx-get="{INVOICES}"' in text_of(alice_client)


@pytest.mark.usefixtures("stripe_away")
def test_pages_that_only_read_our_books_do_not_notice(alice: Person, alice_client: Client) -> None:
    subscribed(alice)
    for path in ("/dashboard", BILLING, "/playground"):
        assert AWAY not in text_of(alice_client, path)


def test_what_only_staff_can_mend_is_in_their_log(
    alice_client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def conflicting(**_: Any) -> str:
        raise CatalogConflict("another installation's price")

    monkeypatch.setattr(checkout, "begin", conflicting)
    words = said(alice_client.post(SUBSCRIBE, {"limit": "12"}, follow=True))
    assert "Payments are not set up correctly on this server" in words
    assert "another installation" not in words
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert vars(record)["detail"] == "another installation's price"


def test_a_key_that_stripe_refuses_is_no_riddle(
    alice_client: Client, stripe_here: StripeSandbox, settings: Any
) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_wrong"
    words = said(alice_client.post(SUBSCRIBE, {"limit": "12"}, follow=True))
    assert "Payments are not set up correctly" in words


def test_what_stripe_refuses_is_said_as_such(
    alice: Person, alice_client: Client, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribed(alice)
    assert "Stripe did not accept this" in said(alice_client.post(PORTAL, follow=True))

    def refused(*_args: Any, **_options: Any) -> Any:
        raise StripeRefused("no", status=400)

    monkeypatch.setattr(invoices, "page_of", refused)
    assert "Stripe did not accept this" in text_of(alice_client, INVOICES)


# --- journeys -------------------------------------------------------------------------------------


def subscribe(
    client: Client, stripe_here: StripeSandbox, limit: str = "12.50", **details: Any
) -> Any:
    """From the form to the checkout and back; returns the page that one lands on."""
    answer = client.post(SUBSCRIBE, {"limit": limit})
    assert answer.status_code == 303
    session = answer["Location"].rpartition("/")[2]
    stripe_here.complete_checkout(session, **details)
    return client.get(SUBSCRIBED, {"checkout": session}, follow=True)


@pytest.mark.parametrize("limit", ["fifty", "-1", "0.0005"])
def test_a_wrong_limit_is_said_and_nothing_begins(
    alice: Person, alice_client: Client, limit: str
) -> None:
    answer = alice_client.post(SUBSCRIBE, {"limit": limit})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "The spend limit" in page
    assert page.count(f'value="{limit}"') == 1
    assert '<details class="reveal" open>' in page
    assert not Subscription.objects.exists()


@pytest.mark.parametrize(("limit", "micros"), [("12.50", 12_500_000), ("", None)])
def test_from_the_form_to_the_card_and_back_as_a_subscriber(
    alice: Person, alice_client: Client, stripe_here: StripeSandbox, limit: str, micros: int | None
) -> None:
    answer = subscribe(alice_client, stripe_here, limit)
    assert "You are subscribed" in said(answer)
    assert cap_of(alice) == micros
    assert alice.organization.subscription.status == "active"
    assert "<dt>Next invoice</dt>" in answer.content.decode()
    without_credit(alice)
    make.succeeded(alice)
    assert "<dt>This period so far</dt><dd>$0.01</dd>" in text_of(alice_client)


def test_whoever_is_subscribed_is_not_subscribed_twice(
    alice: Person, alice_client: Client, stripe_here: StripeSandbox
) -> None:
    subscribe(alice_client, stripe_here)
    answer = alice_client.post(SUBSCRIBE, {"limit": "1"}, follow=True)
    assert "You are subscribed already" in said(answer)
    assert cap_of(alice) == 12_500_000


def test_an_unfinished_checkout_is_told_honestly(
    alice_client: Client, paupers: Client, stripe_here: StripeSandbox
) -> None:
    session = alice_client.post(SUBSCRIBE, {"limit": "5"})["Location"].rpartition("/")[2]
    for client, name in (
        (alice_client, session),
        (alice_client, ""),
        (alice_client, "cs_x/../y"),
        (paupers, session),
    ):
        words = said(client.get(SUBSCRIBED, {"checkout": name}, follow=True))
        assert "Stripe has not confirmed a subscription yet" in words


def test_somebody_elses_checkout_subscribes_nobody(
    alice_client: Client, charlie: Person, charlies: Client, stripe_here: StripeSandbox
) -> None:
    session = alice_client.post(SUBSCRIBE, {"limit": "5"})["Location"].rpartition("/")[2]
    stripe_here.complete_checkout(session)
    words = said(charlies.get(SUBSCRIBED, {"checkout": session}, follow=True))
    assert "has not confirmed" in words
    assert charlie.organization.subscription.status == "none"


def test_the_portal_opens_and_what_was_changed_there_shows_on_return(
    alice: Person, alice_client: Client, stripe_here: StripeSandbox
) -> None:
    subscribe(alice_client, stripe_here)
    answer = alice_client.post(PORTAL)
    assert answer.status_code == 303
    assert answer["Location"].startswith(f"{stripe_here.base_url}/portal/")
    row = Subscription.objects.get(organization=alice.organization)
    stripe_here.client().v1.subscriptions.update(
        row.subscription_id, {"cancel_at_period_end": True}
    )
    page = alice_client.get(BACK, follow=True).content.decode()
    assert "It ends on" in page
    stripe_here.client().v1.subscriptions.cancel(row.subscription_id)
    assert "Your subscription ended" in alice_client.get(BACK, follow=True).content.decode()


def test_returning_from_nowhere_is_no_error(alice_client: Client) -> None:
    assert alice_client.get(BACK, follow=True).status_code == 200
    assert not Subscription.objects.exists()


def test_invoices_are_shown_in_words_with_links(
    alice: Person, alice_client: Client, stripe_here: StripeSandbox
) -> None:
    assert "No invoices yet" in text_of(alice_client, INVOICES)
    subscribe(alice_client, stripe_here, card="4000000000000341")
    row = Subscription.objects.get(organization=alice.organization)
    bill(stripe_here, row, images=100)
    page = text_of(alice_client, INVOICES)
    [due, first] = invoices.page_of(row.customer_id)[0]
    assert "To be paid" in page
    assert "$1.00" in page
    assert f'href="{due.page}"' in page
    assert f'href="{first.pdf}"' in page
    assert due.number in page
    part = alice_client.get(INVOICES, headers={"HX-Request": "true"}).content.decode()
    assert due.number in part
    assert "<html" not in part


def bill(stripe_here: StripeSandbox, row: Subscription, images: int) -> None:
    """A period with so many images at one cent, invoiced and charged."""
    event = row.items.get(price__size="512x512").price.metered.event_name
    stripe_here.client().v1.billing.meter_events.create(
        {
            "event_name": event,
            "payload": {"stripe_customer_id": row.customer_id, "value": str(images)},
        }
    )
    stripe_here.finalize(stripe_here.end_period(row.subscription_id)["id"])


def test_many_invoices_have_pages(
    alice: Person, alice_client: Client, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(alice_client, stripe_here)
    row = Subscription.objects.get(organization=alice.organization)
    bill(stripe_here, row, images=60)
    monkeypatch.setattr(stripe, "INVOICES_PAGE", 1)
    first = alice_client.get(INVOICES)
    [newest] = first.context["invoices"]
    older = f"after={newest.id}"
    assert older in first.content.decode()
    second = alice_client.get(f"{INVOICES}?{older}")
    assert second.context["invoices"][0].id != newest.id
    assert "Newest" in second.content.decode()
    assert "Older" not in second.content.decode()
    assert alice_client.get(INVOICES, {"after": "in_nothing"}).status_code == 404


def test_nobody_sees_invoices_of_another_organization(
    alice: Person, alice_client: Client, charlies: Client, stripe_here: StripeSandbox
) -> None:
    subscribe(alice_client, stripe_here)
    alices_newest = alice_client.get(INVOICES).context["invoices"][0]
    subscribe(charlies, stripe_here)
    page = charlies.get(INVOICES, {"after": alices_newest.id})
    assert page.status_code == 404 or alices_newest.number not in page.content.decode()
    assert alices_newest.number not in text_of(charlies, INVOICES)


def test_a_failed_payment_comes_by_webhook_and_goes_when_it_is_paid(
    alice: Person, alice_client: Client, stripe_here: StripeSandbox, client: Client
) -> None:
    subscribe(alice_client, stripe_here, card="4000000000000341")
    without_credit(alice)
    row = Subscription.objects.get(organization=alice.organization)
    bill(stripe_here, row, images=100)
    deliver(client, stripe_here)
    webhook_events.work()
    assert "A payment failed." in text_of(alice_client, "/dashboard")
    [due] = [one for one in invoices.page_of(row.customer_id)[0] if one.status == "open"]
    stripes = stripe_here.client().v1
    card = stripes.payment_methods.attach("pm_card_visa", {"customer": row.customer_id})
    stripes.invoices.pay(due.id, {"payment_method": card.id})
    deliver(client, stripe_here)
    webhook_events.work()
    assert "A payment failed." not in text_of(alice_client, "/dashboard")


def deliver(client: Client, stripe_here: StripeSandbox) -> None:
    """All that Stripe has not sent yet."""
    for body, signature in stripe_here.undelivered():
        assert send(client, body, signature).status_code == 200


# --- webhooks -------------------------------------------------------------------------------------


SECRET = "whsec_test"
EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "invoice.paid",
    "created": 1_776_391_234,
    "data": {"object": {"id": "in_1"}},
}


@pytest.fixture
def secret(settings: Any) -> str:
    settings.STRIPE_WEBHOOK_SECRET = settings.STRIPE_THIN_WEBHOOK_SECRET = SECRET
    return SECRET


def signature_of(body: bytes, *, secret: str = SECRET, ago: float = 0) -> str:
    at = int(time.time() - ago)
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def send(client: Client, body: bytes, signature: str) -> Any:
    return client.post(
        WEBHOOK, body, content_type="application/json", headers={"Stripe-Signature": signature}
    )


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids that a worker was woken for."""
    woken: list[str] = []
    monkeypatch.setattr(webhook, "wake_worker", woken.append)
    return woken


@pytest.mark.usefixtures("db", "secret")
def test_an_event_is_kept_once_and_a_worker_woken_once(client: Client, queue: list[str]) -> None:
    body = json.dumps(EVENT).encode()
    for _ in range(5):
        answer = send(client, body, signature_of(body))
        assert (answer.status_code, answer.content) == (200, b"")
    [event] = WebhookEvent.objects.all()
    assert (event.event_id, event.type, event.object_id) == ("evt_1", "invoice.paid", "in_1")
    assert queue == ["evt_1"]


BODY = json.dumps(EVENT).encode()


@pytest.mark.usefixtures("db", "secret")
@pytest.mark.parametrize(
    ("body", "signature"),
    [
        pytest.param(BODY, signature_of(BODY, ago=301), id="old"),
        pytest.param(BODY, signature_of(BODY, ago=-9_000), id="from the future"),
        pytest.param(BODY, signature_of(BODY, secret="whsec_other"), id="another secret"),
        pytest.param(BODY + b" ", signature_of(BODY), id="another body"),
        pytest.param(BODY, "", id="none"),
        pytest.param(BODY, "t=now,v1=", id="nonsense"),
        pytest.param(BODY, f"t={int(time.time())},v1=\xe9", id="not ASCII"),
        pytest.param(BODY, "t=" + "9" * 5_000 + ",v1=0", id="a moment without end"),
        pytest.param(b"\xff", signature_of(b"\xff"), id="not UTF-8"),
        pytest.param(b"{", signature_of(b"{"), id="no JSON"),
        pytest.param(b"[]", signature_of(b"[]"), id="a list"),
        pytest.param(b"{}", signature_of(b"{}"), id="no event"),
        pytest.param(b'{"object":"charge"}', signature_of(b'{"object":"charge"}'), id="an object"),
    ],
)
def test_what_stripe_did_not_sign_or_what_is_no_event_is_refused_and_not_kept(
    client: Client, queue: list[str], body: bytes, signature: str
) -> None:
    answer = send(client, body, signature)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert not WebhookEvent.objects.exists()
    assert queue == []


@pytest.mark.usefixtures("db", "secret")
def test_too_large_a_body_is_not_read_to_its_end(client: Client, settings: Any) -> None:
    body = b" " * (settings.BODY_LIMIT_BYTES + 1)
    assert send(client, body, signature_of(body)).status_code == 413


@pytest.mark.usefixtures("db")
def test_webhooks_need_no_sign_in_no_token_and_are_posted(client: Client, secret: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert send(strict, BODY, signature_of(BODY)).status_code == 200
    for method in ("get", "put", "delete"):
        assert getattr(client, method)(WEBHOOK).status_code == 405


@pytest.mark.usefixtures("db")
def test_without_a_secret_nothing_is_believed(client: Client, settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRET = settings.STRIPE_THIN_WEBHOOK_SECRET = ""
    assert send(client, BODY, signature_of(BODY, secret="")).status_code == 400


@pytest.mark.usefixtures("db", "secret")
def test_a_broker_that_is_away_changes_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_args: Any, **_options: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(tasks.process_event, "apply_async", lost)
    assert send(client, BODY, signature_of(BODY)).status_code == 200
    assert WebhookEvent.objects.filter(done_at=None).exists()


@pytest.mark.usefixtures("db", "secret")
def test_with_the_database_away_stripe_is_told_to_send_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(_event: Any) -> bool:
        raise OperationalError

    monkeypatch.setattr(webhook_events, "receive", away)
    client = Client(raise_request_exception=False)
    assert send(client, BODY, signature_of(BODY)).status_code == 500


def test_refunds_are_no_charges(alice: Person) -> None:
    """The forecast grows what was charged and not what was given back."""
    without_credit(alice)
    row = subscribed(alice)
    for _ in range(3):
        hold = make.succeeded(alice).hold
    refunds.refund_image(hold=hold, reason="torn", by="staff@example.com")
    period = period_to_date.of(row)
    assert (period.images, period.micros) == (3, 20_000)
    assert period.forecast_micros == pytest.approx(3 * 30_000 - 10_000, abs=100)
    assert LedgerEntry.objects.filter(kind="refund").count() == 1
