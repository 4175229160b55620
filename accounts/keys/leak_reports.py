"""What a report of leaked keys says, in the form of GitHub's partner program: a JSON array of finds.

https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partner-program
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from accounts.keys import key_format

MOST_FINDS = 5_000  # of one report; each that has a key's form is looked up
LONGEST_TYPE = 100  # characters; each answer repeats it
LONGEST_PLACE = 160  # characters; with the words before it, it fits into the key's row


class ReportRejected(Exception):
    """A report that is answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Finding:
    """One find. `place` is where it was, fit to be shown: it holds no key."""

    token: str
    type: str
    place: str


def parse(body: bytes) -> list[Finding]:
    """The finds of a report.

    Raises:
        ReportRejected: 400 where it is not an array of objects with a token and a type, 413 where it has
            more than `MOST_FINDS`.
    """
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError):
        raise ReportRejected(400, "The report is not JSON.") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ReportRejected(400, "The report must be an array of objects.")
    if len(rows) > MOST_FINDS:
        raise ReportRejected(
            413, f"A report has at most {MOST_FINDS} objects. Send the rest in another."
        )
    return [_parse_find(row) for row in rows]


def _parse_find(row: dict[str, Any]) -> Finding:
    token, kind = row.get("token"), row.get("type")
    url = row.get("url") or ""
    if not isinstance(token, str) or not isinstance(kind, str) or not isinstance(url, str):
        raise ReportRejected(
            400, "Each object needs a token and a type, and may have a url: all text."
        )
    if len(kind) > LONGEST_TYPE:
        raise ReportRejected(400, f"A type has at most {LONGEST_TYPE} characters.")
    return Finding(token=token, type=kind, place=place_of(url))


def place_of(url: str) -> str:
    """Host and path of an address, without what else could hold a secret; empty if it is none.

    A path in which something looks like a key, or that cannot be shown, is left out too.
    """
    try:
        parts = urlsplit(url)
        host, path = parts.hostname or "", unquote(parts.path)
    except ValueError:
        return ""
    if key_format.PREFIX in host or not host.isprintable():
        return ""
    fit = path.isprintable() and not key_format.FORM.search(path) and "%" not in path
    return (host + (path if fit else ""))[:LONGEST_PLACE]
