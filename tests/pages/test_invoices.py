"""The list of invoices and the statement of one, as those see them who pay."""

import csv
import io
import random
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import Hold, Invoice, Subscription
from billing.pages import invoices as invoices_pages
from billing.pages import statement as statement_page
from billing.statements import images
from tests import statements as made
from tests.billing.statements.test_invoice import random_invoice
from tests.cast import Person
from tests.html import flat
from tests.images import make
from tests.pages.paying import AWAY, BILLING, INVOICES, said, subscribed, text_of, without_credit
from tests.pages.test_payment import bill, stripe_away, subscribe
from tests.statements import APRIL, MARCH, Account, Kind
from tests.stripe_sandbox import StripeSandbox

__all__ = ["stripe_away"]

DAY = timedelta(days=1)
NEXT = f"{INVOICES}/next"
MINUS = "\N{MINUS SIGN}"


def read_at_stripe(person: Person, **fields: Any) -> Subscription:
    """A subscription of which all invoices were read."""
    return subscribed(person, invoices_read_at=timezone.now(), **fields)


@pytest.fixture
def march(alice: Person) -> Invoice:
    """Alice's invoice of March: two lines, and images on credit."""
    of = made.invoice(alice, "ECO-2")
    small = made.batch(made.used(alice, "512x512", 120, MARCH + DAY))
    missed = made.batch(made.used(alice, "768x768", 3, MARCH + 2 * DAY), metered=False)
    made.used(alice, "1024x1024", 4, MARCH + DAY, payer=Hold.Payer.CREDIT)
    made.claim(of, [small], stripe_images=120)
    made.claim(of, [missed])
    made.close(of, tax=10)
    return of


# --- one invoice ----------------------------------------------------------------------------------


def test_a_statement_says_what_was_billed_and_why(march: Invoice, alice_client: Client) -> None:
    page = text_of(alice_client, f"{INVOICES}/ECO-2")
    assert "<h1>Invoice ECO-2</h1>" in text_of(alice_client, f"{INVOICES}/in_ECO-2")
    for words in (
        *("<h1>Invoice ECO-2</h1>", "512 × 512", "$1.200", "768 × 768", "$0.045"),
        *("Rounding to the cent", "+$0.005", "Besides, by credit"),
        *("$0.080 of credit", "<dd>$1.35</dd>", "Corrections of Stripe"),
        *("Not counted by Stripe&#x27;s meter in time", "+3", "2 Mar 2026", "Pay at Stripe"),
    ):
        assert words in page, words


def table_rows(page: str) -> list[tuple[bool, int]]:
    """Of each row of the charges: whether it is a sum, and its amount in micro-dollars."""
    table = re.search(r'id="charges".*?</table>', page, re.DOTALL)[0]
    found = []
    for head, row in re.findall(r"<tr([^>]*)>(.*?)</tr>", table, re.DOTALL)[1:]:
        sign, amount = re.findall(rf">\s*([+{MINUS}-]?)\$([0-9.,]+)\s*</td>", row)[-1]
        micros = round(float(amount.replace(",", "")) * 1_000_000)
        found.append(("sum" in head, micros if sign in {"", "+"} else -micros))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_amounts_on_the_page_add_up(alice: Person, alice_client: Client, seed: int) -> None:
    random_invoice(alice, random.Random(100 + seed))
    rows = table_rows(alice_client.get(f"{INVOICES}/ECO-9").content.decode())
    running, sums = 0, 0
    for is_sum, micros in rows:
        running += 0 if is_sum else micros
        sums += is_sum
        assert not is_sum or micros == running
    assert sums >= 3


@pytest.mark.parametrize("path", ["", "/images.csv", "/page", "/pdf"])
def test_an_invoice_of_others_does_not_exist_and_members_may_not_look(
    march: Invoice, charlies: Client, bobs: Client, path: str
) -> None:
    assert charlies.get(f"{INVOICES}/ECO-2{path}").status_code == 404
    assert bobs.get(f"{INVOICES}/ECO-2{path}").status_code == 403


def test_a_draft_that_is_gone_at_stripe_does_not_exist(alice: Person, alice_client: Client) -> None:
    made.invoice(alice, "ECO-3", status="deleted")
    assert alice_client.get(f"{INVOICES}/ECO-3").status_code == 404


def test_the_current_period_has_the_form_of_an_invoice(alice: Person, alice_client: Client) -> None:
    assert "No invoice is coming" in text_of(alice_client, NEXT)
    read_at_stripe(alice)
    assert f'href="{NEXT}"' in text_of(alice_client)
    made.used(alice, "512x512", 3, timezone.now() - DAY)
    page = text_of(alice_client, NEXT)
    assert "<h1>Current period</h1>" in page
    assert "if the period ended now" in page
    assert "<dd>$0.03</dd>" in page


def test_a_draft_says_that_it_is_one(alice: Person, alice_client: Client) -> None:
    made.invoice(alice, "ECO-3", status="draft")
    page = text_of(alice_client, f"{INVOICES}/ECO-3")
    assert "This invoice is being written" in page
    assert "No images" in page
    assert "Pay at Stripe" not in page


def test_more_rows_than_a_page_can_hold_are_summed_by_day(
    march: Invoice, alice_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.statements.use.MOST_ROWS", 1)
    assert "All keys" in text_of(alice_client, f"{INVOICES}/ECO-2")


def test_the_number_of_queries_does_not_grow_with_lines_and_images(
    alice: Person, march: Invoice, alice_client: Client
) -> None:
    with CaptureQueriesContext(connection) as before:
        alice_client.get(f"{INVOICES}/ECO-2")
    for size in ("1024x768", "1024x1024"):
        for day in range(3, 6):
            part = made.batch(made.used(alice, size, 3, MARCH + day * DAY))
            line = march.lines.filter(price=part.price).first() or made.claim(march, [part])
            type(part).objects.filter(pk=part.pk).update(invoice_line=line)
            made.post(march, Kind.PAYMENT, Account.STRIPE, Account.RECEIVABLE, 1)
    with CaptureQueriesContext(connection) as after:
        alice_client.get(f"{INVOICES}/ECO-2")
    assert len(after) == len(before)


# --- its images as a file -------------------------------------------------------------------------


def rows_of(client: Client, name: str = "ECO-2") -> list[dict[str, str]]:
    answer: Any = client.get(f"{INVOICES}/{name}/images.csv")
    assert answer.streaming
    text = b"".join(answer.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_the_file_has_each_image_once_and_adds_up_to_the_lines(
    march: Invoice, alice: Person, alice_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "AT_ONCE", 3)
    monkeypatch.setattr(statement_page, "ROWS_AT_ONCE", 7)
    rows = rows_of(alice_client)
    assert len(rows) == len({row["id"] for row in rows}) == 127
    assert [row["payer"] for row in rows].count("credit") == 4
    assert sum(round(float(row["on_invoice_usd"]) * 1e6) for row in rows) == 1_245_000
    assert rows[0]["time"] == (MARCH + DAY).isoformat()
    assert (rows[0]["key"], rows[0]["key_hint"]) == ("Laptop", alice.key.hint)
    assert rows[-1] | {"id": ""} == {
        "id": "",
        "time": (MARCH + DAY + timedelta(minutes=3)).isoformat(),
        "key": "Laptop",
        "key_hint": alice.key.hint,
        "size": "1024x1024",
        "price_usd": "0.020000",
        "payer": "credit",
        "on_invoice_usd": "0.000000",
    }


def test_the_file_names_the_generation(alice: Person, alice_client: Client) -> None:
    without_credit(alice)
    subscribed(alice)
    job = make.succeeded(alice)
    now = timezone.now()
    of = made.invoice(alice, "ECO-5", period_start=now - DAY, period_end=now)
    made.claim(of, [made.batch([job.hold])])
    assert [row["id"] for row in rows_of(alice_client, "ECO-5")] == [job.pk]


# --- the list -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stripe_away")
def test_our_rows_are_listed_without_a_call_to_stripe(
    alice: Person, march: Invoice, alice_client: Client
) -> None:
    read_at_stripe(alice)
    made.invoice(alice, "ECO-3", status="deleted")
    page = text_of(alice_client, INVOICES)
    assert AWAY not in page
    assert f'href="{INVOICES}/ECO-2"' in page
    assert f'href="{INVOICES}/ECO-2/pdf"' in page
    assert "$1.35" in page
    assert "1 Mar 2026" in page
    assert "To be paid" in page
    assert "ECO-3" not in page


def test_our_rows_have_pages(
    alice: Person, alice_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_at_stripe(alice)
    for number in range(1, 4):
        made.invoice(alice, f"ECO-{number}", created_at=APRIL if number < 3 else MARCH)
    monkeypatch.setattr(invoices_pages, "INVOICES_PAGE", 1)
    seen, query = [], ""
    while True:
        answer = alice_client.get(f"{INVOICES}{query}")
        [listed] = answer.context["invoices"]
        seen.append(listed.number)
        if not answer.context["more"]:
            break
        query = f"?after={listed.id}"
    assert seen == ["ECO-2", "ECO-1", "ECO-3"]
    assert alice_client.get(INVOICES, {"after": "in_nothing"}).status_code == 404


def test_before_all_were_read_stripe_is_asked_and_ours_have_statements(
    alice: Person, alice_client: Client, stripe_here: StripeSandbox
) -> None:
    subscribe(alice_client, stripe_here)
    row = Subscription.objects.get(organization=alice.organization)
    bill(stripe_here, row, images=60)
    Subscription.objects.filter(pk=row.pk).update(invoices_read_at=None)
    newest = alice_client.get(INVOICES).context["invoices"][0]
    Invoice.objects.filter(stripe_id=newest.id).delete()
    assert f"{INVOICES}/{newest.number}" not in text_of(alice_client, INVOICES)
    made.invoice(alice, newest.number, stripe_id=newest.id)
    assert f'href="{INVOICES}/{newest.number}"' in text_of(alice_client, INVOICES)


# --- the ways to Stripe ---------------------------------------------------------------------------


def test_each_click_asks_stripe_for_the_address(
    alice: Person, alice_client: Client, stripe_here: StripeSandbox
) -> None:
    subscribe(alice_client, stripe_here)
    row = Subscription.objects.get(organization=alice.organization)
    bill(stripe_here, row, images=60)
    newest = invoices_pages.page_at_stripe(row, limit=1, after=None).invoices[0]
    Invoice.objects.filter(stripe_id=newest.id).delete()
    made.invoice(alice, newest.number, stripe_id=newest.id)
    for form, address in (("page", newest.page), ("pdf", newest.pdf)):
        answer = alice_client.get(f"{INVOICES}/{newest.number}/{form}")
        assert (answer.status_code, answer["Location"]) == (302, address)


@pytest.mark.usefixtures("stripe_away")
def test_while_stripe_is_away_the_ways_there_say_so(march: Invoice, alice_client: Client) -> None:
    assert said(alice_client.get(f"{INVOICES}/ECO-2/pdf", follow=True)).startswith(AWAY)


def test_a_draft_has_no_page_at_stripe(
    alice: Person, alice_client: Client, stripe_here: StripeSandbox
) -> None:
    subscribe(alice_client, stripe_here)
    row = Subscription.objects.get(organization=alice.organization)
    draft = stripe_here.end_period(row.subscription_id)["id"]
    Invoice.objects.filter(stripe_id=draft).delete()
    made.invoice(alice, "", stripe_id=draft, status="draft")
    answer = alice_client.get(f"{INVOICES}/{draft}/page", follow=True)
    assert "until it is final" in said(answer)
    assert answer.redirect_chain == [(f"{INVOICES}/{draft}", 302)]


# --- the ledger on the billing page ---------------------------------------------------------------


def test_the_ledger_leads_to_the_statement_and_hides_what_is_not_the_customers(
    alice: Person, alice_client: Client, bobs: Client
) -> None:
    march = made.invoice(alice, "ECO-2")
    made.post(march, Kind.PAYMENT, Account.STRIPE, Account.RECEIVABLE, 77)
    made.post(march, Kind.TAX, Account.RECEIVABLE, Account.TAXES, 66)
    made.post(march, Kind.FEE, Account.FEES, Account.STRIPE, 55)
    for client, linked in ((alice_client, True), (bobs, False)):
        ledger = flat(client.get(BILLING, {"before": "9" * 9}).content.decode()).split(
            'id="ledger"'
        )[1]
        assert "Payment by card" in ledger
        assert "+$0.770" in ledger
        assert f"{MINUS}$0.660" in ledger
        assert "0.550" not in ledger
        assert (f'href="{INVOICES}/ECO-2"' in ledger) is linked
