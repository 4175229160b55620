"""The trial balance of a month: each account, and whether the books balance."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.ledger import usage
from billing.models import Budget, LedgerEntry
from billing.payments import trial_balance
from billing.payments.booking import book
from tests.cast import Person
from tests.images import make

MONTH = usage.month(2026, 2)
Account, Kind = LedgerEntry.Account, LedgerEntry.Kind


def entry(person: Person, debit: str, credit: str, micros: int, when: datetime) -> None:
    """Written at that moment."""
    made = LedgerEntry(
        organization=person.organization,
        kind="other",
        debit=debit,
        credit=credit,
        amount_micros=micros,
        created_at=when,
    )
    LedgerEntry.objects.bulk_create([made])


def at(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.fixture
def months(alice: Person) -> Person:
    """Entries before, in and after the month, at its very edges."""
    entry(alice, "receivable", "revenue", 100, at(2026, 1, 31, 23, 59, 59))
    entry(alice, "receivable", "revenue", 20, at(2026, 2, 1))
    entry(alice, "stripe", "receivable", 70, at(2026, 2, 28, 23, 59, 59))
    entry(alice, "fees", "stripe", 5, at(2026, 2, 10))
    entry(alice, "receivable", "revenue", 1_000, at(2026, 3, 1))
    Budget.objects.update_or_create(
        organization=alice.organization,
        api_key=None,
        defaults={"month": date(2026, 3, 1), "owed_micros": 1_050},
    )
    return alice


def figures(found: trial_balance.TrialBalance) -> dict[str, tuple[int, int, int, int]]:
    return {
        str(each.account.value): (
            each.opening_micros,
            each.debit_micros,
            each.credit_micros,
            each.closing_micros,
        )
        for each in found.accounts
        if each.opening_micros or each.debit_micros or each.credit_micros
    }


def test_each_account_opens_moves_and_closes(months: Person) -> None:
    with CaptureQueriesContext(connection) as queries:
        found = trial_balance.of(MONTH)
    assert len(queries) == 1
    shown = figures(found)
    shown.pop("customer_credit", None)
    shown.pop("promotions", None)
    assert shown == {
        "receivable": (100, 20, 70, 50),
        "revenue": (-100, 0, 20, -120),
        "stripe": (0, 70, 5, 65),
        "fees": (0, 5, 0, 5),
    }
    assert found.debit_micros == found.credit_micros == 95
    assert found.faults == []


def run(*words: str) -> int:
    try:
        call_command("trial_balance", *words)
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def test_the_command_shows_it(months: Person, capsys: Any) -> None:
    assert run("--month", "2026-02") == 0
    out = capsys.readouterr().out
    assert "The books balance." in out
    [line] = [each.split() for each in out.splitlines() if each.startswith("receivable")]
    assert line[1:] == ["$0.000100", "$0.000020", "$0.000070", "$0.000050"]
    assert run("--month", "2026-02", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["balances"]
    assert {each["account"] for each in told["accounts"]} == set(Account.values)


def test_a_budget_that_says_something_else_is_a_fault(months: Person, capsys: Any) -> None:
    Budget.objects.update(owed_micros=1_049)
    assert run("--month", "2026-02") == 1
    told = capsys.readouterr()
    assert "owe 1050 by the ledger's receivable, and 1049 by their budgets" in told.err
    assert "do not balance" in told.out


def test_without_entries_it_balances(db: None, capsys: Any) -> None:
    assert run("--month", "2026-02") == 0


@pytest.mark.parametrize("month", ["2026-13", "February", "2026", ""])
def test_a_month_is_asked_for(db: None, month: str) -> None:
    with pytest.raises(CommandError, match="such as 2026-11"):
        call_command("trial_balance", "--month", month)


def test_a_real_capture_balances(alice: Person) -> None:
    make.succeeded(alice)
    assert trial_balance.of(usage.month_of(datetime.now(UTC).date())).faults == []
    assert book(
        organization=alice.organization.pk,
        kind=Kind.OTHER,
        debit=Account.RECEIVABLE,
        credit=Account.OTHER,
        amount_micros=7,
        reference="in_1:other",
    )
    assert trial_balance.of(usage.month_of(datetime.now(UTC).date())).faults == []
