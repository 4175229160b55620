"""SQLite has one writer at a time, and whoever finds the place taken sleeps and tries again.

With hundreds of threads doing so the place is mostly empty, and one may come away with nothing for
seconds. So the threads of a process queue, and only the first of them tries, every millisecond:
SQLite itself would come to sleep for a tenth of a second between two tries.
"""

import sqlite3
import threading
import time

from django.db.backends.sqlite3 import base

TRY_SECONDS = 0.001
_queue = threading.Lock()


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own, except for how a transaction waits for its beginning."""

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
