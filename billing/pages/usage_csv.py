"""Usage as a file for spreadsheets."""

import csv
from collections.abc import Iterable
from decimal import Decimal

from django.http import HttpResponse

from billing.amounts import MICROS_PER_DOLLAR
from billing.ledger.usage import UsageRow

# A spreadsheet runs a cell that begins with one of these.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = ("start", "end", "key", "key_hint", "size", "images", "cost_micros", "cost_usd")
PLAYGROUND = "Playground"


def answer(rows: Iterable[UsageRow], *, group_by: Iterable[str], filename: str) -> HttpResponse:
    """A download with a header row. Key and size are empty where they were not asked for."""
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    writer = csv.writer(response)
    writer.writerow(COLUMNS)
    writer.writerows(cells(row, by_key="key" in group_by) for row in rows)
    return response


def cells(row: UsageRow, *, by_key: bool) -> list[str | int]:
    """The cells of one row, in the order of COLUMNS."""
    name, hint = (row.key.name, row.key.hint) if row.key else (PLAYGROUND if by_key else "", "")
    return [
        row.start.isoformat(),
        row.end.isoformat(),
        escaped(name),
        escaped(hint),
        row.size,
        row.images,
        row.micros,
        f"{Decimal(row.micros) / MICROS_PER_DOLLAR:.6f}",
    ]


def escaped(text: str) -> str:
    """The text, quoted where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text
