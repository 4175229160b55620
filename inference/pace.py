"""How long pictures take here lately, for those who wait to be told."""

import time
from typing import Any

# Of each new picture; the last five or so decide.
WEIGHT = 0.3
# After so long without a picture the warm-up is the better guess: one slow picture must not have short
# deadlines refused for good, since what is refused cannot show that pictures are fast again.
FRESH_SECONDS = 60.0


class Pace:
    """A moving average of seconds per picture, of any size and of each size. For one writing thread."""

    def __init__(self) -> None:
        self._seconds: float | None = None
        self._by_size: dict[str, float] = {}
        self._usual: dict[str, Any] | None = None
        self._noted_at = time.monotonic()

    def note(self, size: str, seconds: float) -> None:
        """A picture of that size took so long."""
        self._noted_at = time.monotonic()
        self._seconds = _average(self._seconds, seconds)
        # Replaced, not changed: the keeper's thread may be reading the old one.
        self._by_size = self._by_size | {size: _average(self._by_size.get(size), seconds)}

    def keep_as_usual(self) -> None:
        """What was noted so far comes from the warm-up."""
        self._usual = self.told()

    def told(self) -> dict[str, Any]:
        """For the heartbeat: see `hints.Worker`."""
        if self._usual and time.monotonic() - self._noted_at > FRESH_SECONDS:
            return self._usual
        return {"seconds": self._seconds, "seconds_by_size": self._by_size}


def _average(before: float | None, seconds: float) -> float:
    return seconds if before is None else before + WEIGHT * (seconds - before)
