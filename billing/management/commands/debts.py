"""`manage.py debts`: what each customer owes us, and where it stands."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from billing.amounts import dollars
from billing.payments import debts
from billing.payments.debts import COLUMNS, Debt


class Command(BaseCommand):
    """Prints one line for each organization, and the sums."""

    help = "List what each customer owes: not invoiced yet, on drafts, on open invoices by age, uncollectible."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="in micro-dollars, for programs")

    def handle(self, *_args: Any, **options: Any) -> None:
        found = debts.debts()
        if options["json"]:
            self.stdout.write(json.dumps([as_json(debt) for debt in found], indent=2))
            return
        self.stdout.write(_line("organization", list(COLUMNS)))
        for debt in found:
            name = f"{debt.organization.pk} {debt.organization}"
            self.stdout.write(_line(name, _dollars(debt.amounts)))
        self.stdout.write(_line("all", _dollars(debts.sums_of(found))))


def as_json(debt: Debt) -> dict[str, Any]:
    """The figures in micro-dollars, and whose they are."""
    amounts = dict(zip(COLUMNS.values(), debt.amounts, strict=True))
    return {"organization": debt.organization.pk, "name": debt.organization.name, **amounts}


def _dollars(amounts: list[int]) -> list[str]:
    return [dollars(micros) for micros in amounts]


def _line(name: str, figures: list[str]) -> str:
    return f"{name[:32]:<33}" + "".join(f"{figure:>17}" for figure in figures)
