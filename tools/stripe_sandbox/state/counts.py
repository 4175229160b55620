"""How often each address was called since the start, and what the parameter check refused."""

import threading
from collections import Counter
from typing import Any


class RequestCounts:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._refusals: list[str] = []
        self._overlaps = 0

    def count(self, route: str) -> None:
        with self._lock:
            self._requests[route] += 1

    def refuse(self, text: str) -> None:
        """A request whose parameters Stripe would not take."""
        with self._lock:
            self._refusals.append(text)

    def overlap(self) -> None:
        """A meter event that came while another of its customer and meter was in flight."""
        with self._lock:
            self._overlaps += 1

    @property
    def overlaps(self) -> int:
        return self._overlaps

    def told(self) -> dict[str, Any]:
        with self._lock:
            refusals = list(self._refusals)
            return {
                "requests": dict(self._requests),
                "refused": len(refusals),
                "refusals": refusals,
            }

    def clear(self) -> None:
        with self._lock:
            self._requests.clear()
            self._refusals.clear()
            self._overlaps = 0


counts = RequestCounts()
