"""The state of the sandbox: one SQLite file of documents, meter events, deliveries and remembered answers.

One lock and one transaction for each request: an error leaves nothing behind, and a kill between two
requests loses nothing.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.stripe_sandbox import settings
from tools.stripe_sandbox.state import options
from tools.stripe_sandbox.state.errors import Refused, missing

Document = dict[str, Any]

TABLES = """
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    created INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (kind, id)
);
CREATE UNIQUE INDEX IF NOT EXISTS one_price_a_lookup_key ON documents (json_extract(body, '$.lookup_key'))
    WHERE kind = 'price' AND json_extract(body, '$.lookup_key') IS NOT NULL;
CREATE INDEX IF NOT EXISTS documents_of_customer ON documents (kind, json_extract(body, '$.customer'));
CREATE TABLE IF NOT EXISTS usage (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    identifier TEXT NOT NULL,
    event_name TEXT NOT NULL,
    meter TEXT NOT NULL,
    customer TEXT NOT NULL,
    value INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    received REAL NOT NULL,
    request_key TEXT NOT NULL,
    rejection TEXT NOT NULL DEFAULT '',
    reported INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS usage_identifier ON usage (identifier);
CREATE INDEX IF NOT EXISTS usage_sums ON usage (meter, customer, timestamp);
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY,
    event TEXT NOT NULL UNIQUE,
    attempts INTEGER NOT NULL DEFAULT 0,
    copies INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    answer TEXT NOT NULL DEFAULT '',
    delivered INTEGER
);
CREATE TABLE IF NOT EXISTS options (name TEXT PRIMARY KEY, value REAL NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    created INTEGER NOT NULL,
    status INTEGER NOT NULL,
    headers TEXT NOT NULL,
    body TEXT NOT NULL
);
"""


class Transaction:
    """What one request, or one control, does to the state; events name the request by its two ids."""

    def __init__(
        self, connection: sqlite3.Connection, request_id: str = "", request_key: str = ""
    ) -> None:
        self._connection = connection
        self.request_id = request_id
        self.request_key = request_key

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._connection.execute(sql, values).fetchall()

    def change(self, sql: str, *values: object) -> int:
        """Execute it; returns how many rows it changed."""
        return self._connection.execute(sql, values).rowcount

    def load_options(self) -> None:
        """From here on the options are those of the store."""
        options.load({row["name"]: row["value"] for row in self.rows("SELECT * FROM options")})

    def set_option(self, name: str, value: float) -> None:
        """Change an option, for this transaction too."""
        self.change("INSERT OR REPLACE INTO options (name, value) VALUES (?, ?)", name, value)
        self.load_options()

    def add(self, body: Document, created: int) -> Document:
        """Store a new object."""
        self.change(
            "INSERT INTO documents (kind, id, created, body) VALUES (?, ?, ?, ?)",
            *(body["object"], body["id"], created, json.dumps(body)),
        )
        return body

    def save(self, body: Document) -> Document:
        """Store what changed in an object."""
        self.change(
            "UPDATE documents SET body = ? WHERE kind = ? AND id = ?",
            *(json.dumps(body), body["object"], body["id"]),
        )
        return body

    def remove(self, body: Document) -> None:
        """The object is no more."""
        self.change("DELETE FROM documents WHERE kind = ? AND id = ?", body["object"], body["id"])

    def get_or_none(self, kind: str, key: object) -> Document | None:
        """The object of that id, if there is one."""
        found = self.rows("SELECT body FROM documents WHERE kind = ? AND id = ?", kind, key)
        return json.loads(found[0]["body"]) if found else None

    def get(self, kind: str, key: str, param: str = "id") -> Document:
        """The object of that id.

        Raises:
            Refused: there is none; `param` is the parameter that named it.
        """
        found = self.get_or_none(kind, key)
        if found is None:
            raise missing(kind, key, param)
        return found

    def find(self, kind: str, **where: object) -> list[Document]:
        """Objects whose members have those values, the newest first. A list means any of it, None: whichever."""
        return self.page(kind, where)[0]

    def page(
        self,
        kind: str,
        where: dict[str, object],
        *,
        limit: int = 1_000_000,
        after: str = "",
        before: str = "",
        since: int = 0,
        until: int = 2**60,
    ) -> tuple[list[Document], bool]:
        """Up to `limit` objects, the newest first, beyond one id or the other, and whether there are more."""
        tests, values = ["kind = ?", "created >= ?", "created < ?"], [kind, since, until]
        for name, value in where.items():
            if value is None:
                continue
            wanted = value if isinstance(value, list) else [value]
            marks = ", ".join("?" * len(wanted))
            tests.append(f"json_extract(body, '$.{name}') IN ({marks})")
            values += wanted
        for key, sign in ((after, "<"), (before, ">")):
            if key:
                tests.append(
                    f"number {sign} (SELECT number FROM documents WHERE kind = ? AND id = ?)"  # noqa: S608 - < or >
                )
                values += [kind, key]
        order = "ASC" if before else "DESC"
        found = self.rows(
            f"SELECT body FROM documents WHERE {' AND '.join(tests)} "  # noqa: S608 - names are ours
            f"ORDER BY number {order} LIMIT ?",
            *(*values, limit + 1),
        )
        bodies = [json.loads(row["body"]) for row in found[:limit]]
        return bodies[::-1] if before else bodies, len(found) > limit


class Store:
    """The file and its one lock."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {TABLES}"
        )

    @contextmanager
    def transaction(self, request_id: str = "", request_key: str = "") -> Iterator[Transaction]:
        """All of it or nothing; while it lasts, everyone else waits."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            db = Transaction(self._connection, request_id, request_key)
            try:
                db.load_options()
                yield db
            except BaseException as error:
                kept = isinstance(error, Refused) and error.keeps_work
                self._connection.execute("COMMIT" if kept else "ROLLBACK")
                db.load_options()
                raise
            self._connection.execute("COMMIT")

    def clear(self) -> None:
        """Delete all rows."""
        with self.transaction() as db:
            for table in ("documents", "usage", "deliveries", "answers", "options"):
                db.change(f"DELETE FROM {table}")  # noqa: S608 - our own names
            db.load_options()


_opening = threading.Lock()
_opened: list[Store] = []


def store() -> Store:
    """The one store of this process, opened when it is first needed."""
    with _opening:
        if not _opened:
            _opened.append(Store(settings.STATE_FILE))
        return _opened[0]
