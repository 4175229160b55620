"""How long pictures took lately on this worker, for the forecasts."""

import time
from typing import Any

# Weight of each new picture: the last five or so decide.
WEIGHT = 0.3
# After so long without a picture the warm-up is the better guess: one slow picture must not have short
# deadlines refused for good, since what is refused cannot show that pictures are fast again.
FRESH_SECONDS = 60.0


class Pace:
    """A moving average of the seconds that a picture takes, of all sizes and of each. For one writing thread."""

    def __init__(self) -> None:
        self._seconds: float | None = None
        self._by_size: dict[str, float] = {}
        self._warm_up: dict[str, Any] | None = None
        self._recorded_at = time.monotonic()

    def record(self, size: str, seconds: float) -> None:
        """A picture of that size took so long."""
        self._recorded_at = time.monotonic()
        self._seconds = _average(self._seconds, seconds)
        # Replaced, not changed: the heartbeat thread may be reading the old one.
        self._by_size = self._by_size | {size: _average(self._by_size.get(size), seconds)}

    def keep_as_warm_up(self) -> None:
        """Take what was recorded so far as the pace of the warm-up."""
        self._warm_up = self.report()

    def report(self) -> dict[str, Any]:
        """The fields `seconds` and `seconds_by_size` of a `LiveWorker`."""
        if self._warm_up and time.monotonic() - self._recorded_at > FRESH_SECONDS:
            return self._warm_up
        return {"seconds": self._seconds, "seconds_by_size": self._by_size}


def _average(before: float | None, seconds: float) -> float:
    return seconds if before is None else before + WEIGHT * (seconds - before)
