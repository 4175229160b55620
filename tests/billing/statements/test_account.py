"""The statement of account of a month, and the command that prints statements."""

import json
import re
from datetime import date, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing.ledger.usage import month_of
from billing.models import Hold, LedgerEntry
from billing.statements import account, words
from tests import statements as made
from tests.cast import Person
from tests.statements import MARCH, Account, Kind

DAY = timedelta(days=1)


@pytest.fixture
def march(alice: Person) -> Person:
    """Alice, with something of every kind in March, and use before and after it."""
    made.used(alice, "512x512", 5, MARCH - DAY)
    made.used(alice, "512x512", 7, MARCH + 31 * DAY)
    of = made.invoice(alice, "ECO-1")
    of.finalized_at = MARCH + 2 * DAY
    batch = made.batch(made.used(alice, "768x768", 3, MARCH + DAY))
    made.used(alice, "512x512", 2, MARCH + DAY)
    made.used(alice, "512x512", 4, MARCH + DAY, payer=Hold.Payer.CREDIT)
    made.claim(of, [batch])
    made.close(of, paid=8)
    made.post(of, Kind.TAX, Account.RECEIVABLE, Account.TAXES, 2)
    made.post(of, Kind.OTHER, Account.RECEIVABLE, Account.OTHER, 1)
    made.post(of, Kind.FEE, Account.FEES, Account.STRIPE, 1)
    made.post(of, Kind.PAYOUT, Account.RECEIVABLE, Account.STRIPE, 3)
    LedgerEntry.objects.create(
        organization=alice.organization,
        invoice=of,
        kind=Kind.ROUNDING,
        debit=Account.RECEIVABLE,
        credit=Account.ROUNDING,
        amount_micros=5_000,
        created_at=of.finalized_at,
    )
    made.post(of, Kind.REFUND, Account.REVENUE, Account.RECEIVABLE, 3, reason="Torn")
    return alice


def printed(*words: str) -> str:
    out = StringIO()
    call_command("statement", *words, stdout=out)
    return out.getvalue()


def amounts(text: str) -> list[tuple[str, int]]:
    """Each line that ends in an amount, and its micro-dollars."""
    found = re.findall(r"^(.*\S)\s+(-?)\$([0-9.,]+)$", text, re.MULTILINE)
    return [
        (line, round(float(number.replace(",", "")) * 1e6) * (-1 if sign else 1))
        for line, sign, number in found
    ]


def test_a_month_adds_up_from_what_was_owed_to_what_is_owed(march: Person) -> None:
    found = account.statement_of(march.organization, month_of(date(2026, 3, 1)))
    assert found.opening_micros == 50_000
    assert [(each.words, each.micros) for each in found.charges] == [
        ("2 images, 512x512 at $0.010", 20_000),
        ("3 images, 768x768 at $0.015", 45_000),
        ("Tax", 20_000),
        ("Other lines of an invoice", 10_000),
        ("Sent back to the card", 30_000),
        ("Rounding to the cent", 5_000),
    ]
    assert [each.words for each in found.credits] == ["Refund: Torn"]
    assert [each.micros for each in found.payments] == [80_000]
    assert found.closing_micros == 50_000 + 130_000 - 30_000 - 80_000
    assert [each.words for each in found.paid_by_credit] == ["4 images, 512x512 at $0.010"]
    assert [each.words for each in found.apart] == ["Stripe's fee"]
    after = account.statement_of(march.organization, month_of(date(2026, 4, 1)))
    assert after.opening_micros == found.closing_micros


def test_the_text_of_a_month_has_the_same_sums(march: Person) -> None:
    text = printed("alice@example.com", "--month", "2026-03")
    owed, rest = text.split("Paid by credit, not owed:")
    rows = amounts(owed)
    assert rows[0] == ("Owed before", 50_000)
    assert rows[-1] == ("Owed after", 70_000)
    heads = [micros for line, micros in rows[1:-1] if not line.startswith(" ")]
    parts = [micros for line, micros in rows[1:-1] if line.startswith(" ")]
    assert 50_000 + sum(heads) == 50_000 + sum(parts) == 70_000
    assert "4 images, 512x512 at $0.010" in rest
    assert "Stripe's fee (invoice ECO-1)" in rest


def test_every_kind_of_entry_has_words() -> None:
    assert set(words.WORDS) == set(LedgerEntry.Kind.values)


def test_an_invoice_is_printed_with_its_images(march: Person) -> None:
    text = printed(march.organization.name, "--invoice", "ECO-1")
    assert "3 × 768x768 (FLUX.1 Schnell) at $0.015" in text
    assert ("  rounding to the cent", 5_000) in amounts(text)
    assert ("Total", 50_000) in amounts(text)
    assert ("Open", -30_000) in amounts(text)
    assert "  2 on a later invoice, or on none yet" in text
    assert "2026-03-02  Laptop: 6 × 512x512, 3 × 768x768" in text


def test_json_has_all_figures_and_the_sums(march: Person) -> None:
    pk = str(march.organization.pk)
    month = json.loads(printed(pk, "--month", "2026-03", "--json"))
    assert (month["opening_micros"], month["closing_micros"]) == (50_000, 70_000)
    of_invoice = json.loads(printed(pk, "--invoice", "in_ECO-1", "--json"))
    assert of_invoice["prices"][0]["claimed_micros"] == 50_000
    assert of_invoice["open_micros"] == -30_000
    assert of_invoice["use"]["days"][0]["day"] == "2026-03-02"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody@example.com"], "There is no organization nobody@example.com"),
        (["9" * 30], "There is no organization"),
        (["alice@example.com", "--invoice", "ECO-7"], "has no invoice ECO-7"),
        (["alice@example.com", "--invoice", "next"], "has no period"),
        (["alice@example.com", "--month", "March"], "March is no month"),
    ],
)
def test_what_is_not_there_is_said(march: Person, words: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        printed(*words)


def test_two_organizations_of_a_name_are_told_apart(alice: Person, charlie: Person) -> None:
    type(alice.organization).objects.update(name="Foxes")
    with pytest.raises(CommandError, match=rf"by its id: {alice.organization.pk} \(Foxes\)"):
        printed("foxes")
