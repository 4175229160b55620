"""One caller of an organization at a time is admitted, in each process.

All of them would change the same budget row and wait for each other in the database, with a connection
each: a burst of one customer would use up the connections that another needs.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class OrganizationLock:
    """A lock for each organization, kept for as long as somebody uses it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[int, tuple[threading.Lock, int]] = {}

    @contextmanager
    def acquire(
        self, organization_id: int, before_waiting: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Hold the organization's lock while inside. `before_waiting` is called only if another caller has it."""
        with self._guard:
            lock, users = self._locks.get(organization_id, (threading.Lock(), 0))
            self._locks[organization_id] = (lock, users + 1)
        try:
            if not lock.acquire(blocking=False):
                before_waiting()
                lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._guard:
                lock, users = self._locks.pop(organization_id)
                if users > 1:
                    self._locks[organization_id] = (lock, users - 1)

    def __len__(self) -> int:
        return len(self._locks)


organization_lock = OrganizationLock()
