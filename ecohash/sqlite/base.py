"""The SQLite backend where it must differ from Django's: how a writer waits, and which values a column takes.

SQLite has one writer at a time, and the others sleep and try again. With hundreds of threads the lock is
mostly free, and yet a thread may not get it for seconds. So the threads of a process queue, and only the
first of them tries, every millisecond: SQLite itself would sleep up to a tenth of a second between tries.

SQLite measures no text and no number, and takes a NUL. What PostgreSQL refuses is refused here too, so
that a text without a limit is found on a development machine.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from django.db.backends.sqlite3 import base

TRY_SECONDS = 0.001
_queue = threading.Lock()
LENGTH = 'length("%(column)s") <= %(max_length)s'


class Cursor(base.SQLiteCursorWrapper):
    """Django's own, except that a text with a NUL is refused, as PostgreSQL refuses it."""

    def execute(self, query: str, params: Any = None) -> Any:
        return super().execute(query, None if params is None else without_nul(params))

    def executemany(self, query: str, param_list: Iterable[Any]) -> Any:
        return super().executemany(query, (without_nul(params) for params in param_list))


def without_nul(params: Any) -> Any:
    """The parameters of a statement as they are.

    Raises:
        sqlite3.DataError: one of them holds a NUL.
    """
    values = params.values() if isinstance(params, Mapping) else params
    if any(isinstance(value, str) and "\0" in value for value in values):
        raise sqlite3.DataError("A text cannot hold a NUL: PostgreSQL would refuse it.")
    return params


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own, except for how a transaction waits for its beginning, and which values columns take."""

    data_type_check_constraints = {
        **base.DatabaseWrapper.data_type_check_constraints,
        "CharField": LENGTH,
        "SlugField": LENGTH,
        "IntegerField": '"%(column)s" BETWEEN -2147483648 AND 2147483647',
        "PositiveIntegerField": '"%(column)s" BETWEEN 0 AND 2147483647',
        "SmallIntegerField": '"%(column)s" BETWEEN -32768 AND 32767',
        "PositiveSmallIntegerField": '"%(column)s" BETWEEN 0 AND 32767',
    }

    def create_cursor(self, name: str | None = None) -> Any:  # noqa: ARG002 - the signature is Django's
        return self.connection.cursor(factory=Cursor)

    def _start_transaction_under_autocommit(self) -> None:
        patience = self.settings_dict["OPTIONS"]["timeout"]
        with _queue, self.wrap_database_errors:
            # Single statements outside of a transaction wait as SQLite does.
            self.connection.execute("PRAGMA busy_timeout = 0")
            try:
                begin(self.connection, until=time.monotonic() + patience)
            finally:
                self.connection.execute(f"PRAGMA busy_timeout = {patience * 1000}")


def begin(connection: sqlite3.Connection, *, until: float) -> None:
    """Become the writer, or give up at that time (monotonic).

    Raises:
        sqlite3.OperationalError: somebody else still is.
    """
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(TRY_SECONDS)
        else:
            return
