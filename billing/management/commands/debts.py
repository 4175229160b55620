"""`manage.py debts`: what each customer owes us, and where it stands."""

import json
from dataclasses import fields
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from billing.amounts import dollars
from billing.payments import debts
from billing.payments.debts import Debt

# Heading → what stands under it.
COLUMNS = {
    "owed": "owed_micros",
    "not invoiced": "not_invoiced_micros",
    "on drafts": "on_drafts_micros",
    "open, 0-30 days": "open_30_micros",
    "31-60 days": "open_60_micros",
    "61+ days": "open_older_micros",
    "rest": "other_micros",
    "uncollectible": "uncollectible_micros",
}


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
            amounts = [getattr(debt, name) for name in COLUMNS.values()]
            self.stdout.write(
                _line(f"{debt.organization.pk} {debt.organization}", _dollars(amounts))
            )
        sums = [sum(getattr(debt, name) for debt in found) for name in COLUMNS.values()]
        self.stdout.write(_line("all", _dollars(sums)))


def as_json(debt: Debt) -> dict[str, Any]:
    """The figures in micro-dollars, and whose they are."""
    amounts = [field.name for field in fields(debt) if field.name.endswith("_micros")]
    return {
        "organization": debt.organization.pk,
        "name": debt.organization.name,
        **{name: getattr(debt, name) for name in (*amounts, "other_micros")},
    }


def _dollars(amounts: list[int]) -> list[str]:
    return [dollars(micros) for micros in amounts]


def _line(name: str, figures: list[str]) -> str:
    return f"{name[:32]:<33}" + "".join(f"{figure:>17}" for figure in figures)
