"""Usage as a file for spreadsheets."""

import csv
from collections.abc import Collection, Iterable
from decimal import Decimal

from django.http import HttpResponse

from billing.amounts import MICROS_PER_DOLLAR
from billing.ledger.usage import UsageRow

# A spreadsheet runs a cell that begins with one of these.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = ("start", "end", "key", "key_hint", "size", "payer", "images", "cost_micros", "cost_usd")


def answer(rows: Iterable[UsageRow], *, group_by: Collection[str], filename: str) -> HttpResponse:
    """A download with a header row. Key and size are empty where they were not asked for.

    The payer's column is there where it was asked for: it is younger than programs that count columns.
    """
    columns = [name for name in COLUMNS if name != "payer" or name in group_by]
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    writer = csv.DictWriter(response, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(map(cells, rows))
    return response


def cells(row: UsageRow) -> dict[str, str | int]:
    """The cells of one row, by their column."""
    return {
        "start": row.start.isoformat(),
        "end": row.end.isoformat(),
        "key": escaped(row.key.name) if row.key else "",
        "key_hint": escaped(row.key.hint) if row.key else "",
        "size": row.size,
        "payer": row.payer,
        "images": row.images,
        "cost_micros": row.micros,
        "cost_usd": f"{Decimal(row.micros) / MICROS_PER_DOLLAR:.6f}",
    }


def escaped(text: str) -> str:
    """The text, quoted where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text
