"""The tables of docs/clients.md as the page /docs/clients shows them: one text for both."""

import re
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

SOURCE = settings.BASE_DIR / "docs" / "clients.md"
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
COLUMNS = 5


@dataclass(frozen=True)
class ClientRow:
    """What one client needs of its key, and what it cannot do; code is marked up."""

    name: SafeString
    works: SafeString
    settings: SafeString
    limits: SafeString
    checked: SafeString


@cache
def groups() -> list[tuple[str, list[ClientRow]]]:
    """(heading, rows) of each table. A change of the file shows after a restart.

    Raises:
        ValueError: a row has another number of cells.
    """
    _, *parts = SECTION.split(SOURCE.read_text())
    return [(title, rows_of(text)) for title, text in zip(parts[::2], parts[1::2], strict=True)]


def rows_of(text: str) -> list[ClientRow]:
    """The rows of a table below its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[with_code(cell.strip()) for cell in line.strip("|").split("|")] for line in lines[2:]]
    if any(len(row) != COLUMNS for row in rows):
        raise ValueError(f"A row of {SOURCE} has not {COLUMNS} cells.")
    return [ClientRow(*row) for row in rows]


def with_code(text: str) -> SafeString:
    """The text, escaped, with what stands between backquotes as code."""
    parts = enumerate(text.split("`"))
    pieces = [format_html("<code>{}</code>", part) if n % 2 else part for n, part in parts]
    return format_html_join("", "{}", ((piece,) for piece in pieces))
