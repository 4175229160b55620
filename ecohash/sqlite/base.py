"""SQLite has one writer at a time, and whoever finds the place taken sleeps and tries again.

With hundreds of threads doing so the place is mostly empty, and one may come away with nothing for
seconds. So the threads of a process queue, and only the first of them tries.
"""

import threading

from django.db.backends.sqlite3 import base

_queue = threading.Lock()


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own, with a queue before BEGIN."""

    def _start_transaction_under_autocommit(self) -> None:
        with _queue:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]  # not in the stubs
