"""The states of the billing page, and what home and playground say of them."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from billing import refunds
from billing.amounts import dollars
from billing.ledger import budgets, period_to_date
from billing.ledger.usage import Spend
from billing.models import LedgerEntry, Subscription
from billing.models.payment import GRACE, GRACE_ALLOWANCE_MICROS
from billing.subscriptions import freezing
from tests import servers
from tests.cast import Person
from tests.images import make
from tests.pages.paying import (
    BILLING,
    FORM,
    SUBSCRIBE,
    TO_PORTAL,
    said,
    subscribed,
    text_of,
    without_credit,
)


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


def test_a_subscriber_sees_what_is_unpaid_its_ceiling_and_what_raises_it(
    alice: Person, alice_client: Client
) -> None:
    without_credit(alice)
    row = subscribed(alice)
    make.succeeded(alice)
    assert "Unpaid use" not in text_of(alice_client)
    Subscription.objects.update(invoices_read_at=timezone.now())
    page = text_of(alice_client)
    assert "<strong>$0.01</strong> of at most $50.00" in page
    assert "Each payment raises the ceiling, up to $2,000.00" in page
    assert "At 50 % of the ceiling we make an invoice" in page
    assert "The ceiling is reached" not in page
    row.refresh_from_db()
    row.unpaid_limit_micros = 10_000
    row.save()
    page = text_of(alice_client)
    assert "of at most $0.01" in page
    assert "The ceiling is reached" in page
    assert "The operators of this service set your ceiling" in page


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
    with django_assert_max_num_queries(13):
        alice_client.get(BILLING)


def test_docs_give_the_figures_that_hold(client: Client, settings: Any, db: None) -> None:
    words = f"{GRACE.days} days, for at most {dollars(GRACE_ALLOWANCE_MICROS)} more"
    page = text_of(client, "/docs")
    assert words in page
    assert f"{dollars(settings.SPENDING.cap_micros)} unless you choose otherwise" in page
    ceiling = dollars(settings.SPENDING.unpaid_micros)
    assert f"{ceiling} for a new card" in page
    text = (servers.ROOT / "docs" / "api.md").read_text()
    assert words in text
    assert f"for a new card {ceiling}" in text


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


def test_the_forecast_of_a_large_invoice_is_a_number() -> None:
    now = timezone.now()
    period = period_to_date.PeriodToDate(
        start=now - timedelta(days=10),
        end=now + timedelta(days=20),
        now=now,
        sizes=[Spend("512x512", 10**9, 10**13)],
        given_back_micros=0,
    )
    assert period.forecast_micros == 3 * 10**13
