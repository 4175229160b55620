"""Paying, as customers see it: who may, with Stripe away, and the ways to Stripe and back."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import Membership
from billing import webhook_events
from billing.gateway import client as gateway
from billing.gateway import invoices
from billing.gateway.errors import StripeRefused
from billing.models import Subscription
from billing.pages import invoices as invoices_pages
from billing.subscriptions import checkout
from billing.subscriptions.catalog import CatalogConflict
from tests import servers
from tests.cast import Person
from tests.images import make
from tests.pages.paying import (
    AWAY,
    BACK,
    BILLING,
    FORM,
    INVOICES,
    PORTAL,
    SUBSCRIBE,
    SUBSCRIBED,
    TO_PORTAL,
    cap_of,
    said,
    send_event,
    subscribed,
    text_of,
    without_credit,
)
from tests.stripe_sandbox import StripeSandbox


@pytest.fixture
def stripe_away(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there."""
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{servers.free_port()}"
    monkeypatch.setattr(gateway, "NETWORK_RETRIES", 0)


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
    assert said(answer) == f"{AWAY} Nothing was changed or charged; please try again in a minute."
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
    client: Client, stripe_here: StripeSandbox, form: dict[str, str] | None = None, **details: Any
) -> Any:
    """From the form to the checkout and back; returns the page that one lands on."""
    answer = client.post(SUBSCRIBE, form or {"limit": "12.50"})
    assert answer.status_code == 303
    session = answer["Location"].rpartition("/")[2]
    stripe_here.complete_checkout(session, **details)
    return client.get(SUBSCRIBED, {"checkout": session}, follow=True)


@pytest.mark.parametrize("limit", ["fifty", "-1", "0.0005", ""])
def test_a_wrong_limit_is_said_and_nothing_begins(
    alice: Person, alice_client: Client, limit: str
) -> None:
    answer = alice_client.post(SUBSCRIBE, {"limit": limit})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "spend limit" in page
    assert page.count(f'value="{limit}"') == 1 or not limit
    assert '<details class="reveal" open>' in page
    assert not Subscription.objects.exists()


@pytest.mark.parametrize(
    ("form", "micros"),
    [({"limit": "12.50"}, 12_500_000), ({"limit": "50.00", "no_limit": "on"}, None)],
)
def test_from_the_form_to_the_card_and_back_as_a_subscriber(
    alice: Person,
    alice_client: Client,
    stripe_here: StripeSandbox,
    form: dict[str, str],
    micros: int | None,
) -> None:
    answer = subscribe(alice_client, stripe_here, form)
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
    row = unread(alice)
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


def unread(person: Person) -> Subscription:
    """As if the organization were older than our rows of invoices, and they had not been read yet."""
    row = Subscription.objects.get(organization=person.organization)
    Subscription.objects.filter(pk=row.pk).update(invoices_read_at=None)
    return row


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
    bill(stripe_here, unread(alice), images=60)
    monkeypatch.setattr(invoices_pages, "INVOICES_PAGE", 1)
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
    alice: Person,
    alice_client: Client,
    charlie: Person,
    charlies: Client,
    stripe_here: StripeSandbox,
) -> None:
    subscribe(alice_client, stripe_here)
    unread(alice)
    alices_newest = alice_client.get(INVOICES).context["invoices"][0]
    subscribe(charlies, stripe_here)
    unread(charlie)
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
        assert send_event(client, body, signature).status_code == 200
