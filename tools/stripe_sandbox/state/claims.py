"""What only one request at a time may hold: an idempotency key, or the meter events of one customer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tools.stripe_sandbox.state.errors import Refused


class Claims:
    """Names that requests hold at this moment, each at most once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: set[object] = set()

    @contextmanager
    def claim(self, name: object, refusal: Refused) -> Iterator[None]:
        """Hold the name while inside.

        Raises:
            Refused: the one that was given, when another holds the name.
        """
        with self._lock:
            if name in self._names:
                raise refusal
            self._names.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._names.discard(name)
