"""`manage.py trial_balance`: each account of the ledger over a month, and whether the books balance."""

import json
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.amounts import dollars
from billing.ledger import usage
from billing.payments import trial_balance
from billing.payments.trial_balance import AccountBalance, TrialBalance

PLACES = 6


class Command(BaseCommand):
    """Prints the accounts; exits with 1 where the books do not balance."""

    help = "Show what each account of the ledger held, got and gave in a month; exit 1 if it does not balance."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--month", metavar="YYYY-MM", required=True, help="a month (UTC)")
        parser.add_argument("--json", action="store_true", help="in micro-dollars, for programs")

    def handle(self, *_args: Any, **options: Any) -> None:
        found = trial_balance.of(period_of(options["month"]))
        if options["json"]:
            self.stdout.write(json.dumps(as_json(found, options["month"]), indent=2))
        else:
            for line in lines(found):
                self.stdout.write(line)
        for fault in found.faults:
            self.stderr.write(fault)
        if found.faults:
            raise SystemExit(1)


def period_of(text: str) -> usage.Period:
    """The month that was named.

    Raises:
        CommandError
    """
    try:
        return usage.month_of(datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date())
    except ValueError:
        raise CommandError("--month: write a month such as 2026-11.") from None


def as_json(found: TrialBalance, month: str) -> dict[str, Any]:
    """The figures in micro-dollars."""
    return {
        "month": month,
        "accounts": [
            {
                "account": each.account.value,
                "opening_micros": each.opening_micros,
                "debit_micros": each.debit_micros,
                "credit_micros": each.credit_micros,
                "closing_micros": each.closing_micros,
            }
            for each in found.accounts
        ],
        "debit_micros": found.debit_micros,
        "credit_micros": found.credit_micros,
        "balances": not found.faults,
        "faults": found.faults,
    }


def lines(found: TrialBalance) -> list[str]:
    """A table; a balance below zero is in credit."""
    yielded = [_line("account", ["opening", "debits", "credits", "closing"])]
    yielded += [_line(each.account.value, _figures(each)) for each in found.accounts]
    sums = [dollars(found.debit_micros, PLACES), dollars(found.credit_micros, PLACES)]
    yielded.append(_line("sum", ["", *sums, ""]))
    yielded.append("The books do not balance." if found.faults else "The books balance.")
    return yielded


def _figures(each: AccountBalance) -> list[str]:
    micros = (each.opening_micros, each.debit_micros, each.credit_micros, each.closing_micros)
    return [dollars(amount, PLACES) for amount in micros]


def _line(name: str, figures: list[str]) -> str:
    return f"{name:<16}" + "".join(f"{figure:>21}" for figure in figures)
