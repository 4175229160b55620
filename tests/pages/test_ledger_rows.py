"""The lines of the ledger, as customers read them."""

import pytest
from django.template.loader import render_to_string

from billing.models import LedgerEntry


@pytest.mark.parametrize(
    ("kind", "debit", "credit", "words", "amount"),
    [
        ("grant", "promotions", "customer_credit", "Credit", "+$1.000"),
        ("refund", "revenue", "receivable", "Given back", "+$1.000"),
        ("refund", "revenue", "stripe", "Given back", "+$1.000"),
        ("payout", "receivable", "stripe", "Sent back to the card", "-$1.000"),
        ("payout", "stripe", "receivable", "Sent back to the card", "+$1.000"),
        ("payout", "stripe", "revenue", "Sent back to the card", "-$1.000"),
        ("payment", "stripe", "receivable", "Payment by card", "+$1.000"),
        ("payment", "other", "receivable", "Paid outside Stripe", "+$1.000"),
        ("write_off", "losses", "receivable", "Written off", "+$1.000"),
        ("write_off_paid", "receivable", "losses", "Paid after it was", "-$1.000"),
        ("rounding", "receivable", "rounding", "Rounding to the cent", "-$1.000"),
        ("rounding", "rounding", "receivable", "Rounding to the cent", "+$1.000"),
        ("tax", "receivable", "taxes", "Tax", "-$1.000"),
        ("other", "receivable", "other", "Other lines", "-$1.000"),
    ],
)
def test_each_kind_has_the_sign_of_its_reader(
    kind: str, debit: str, credit: str, words: str, amount: str
) -> None:
    """What they owe less, or have more of, is above zero."""
    entry = LedgerEntry(kind=kind, debit=debit, credit=credit, amount_micros=1_000_000)
    row = " ".join(render_to_string("components/ledger_row.html", {"entry": entry}).split())
    assert words in row
    assert amount in row.replace("\N{MINUS SIGN}", "-")
    assert ("by card" in row) == (debit == "stripe" and kind == "payment")
