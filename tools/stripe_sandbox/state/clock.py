"""The time of the sandbox, which a test can move ahead, and the calendar of billing periods."""

import calendar
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from tools.stripe_sandbox.state import options

_standing: ContextVar[float | None] = ContextVar("standing", default=None)


def machine() -> float:
    """What the machine's clock says, in seconds since the epoch."""
    return time.time()


def now() -> int:
    """Whole seconds since the epoch, as Stripe counts."""
    return int(exact())


def exact() -> float:
    """Seconds since the epoch, with fractions."""
    moment = _standing.get()
    return machine() + options.current().clock_offset_seconds if moment is None else moment


@contextmanager
def at(moment: float) -> Iterator[None]:
    """Inside, the clock stands at that moment: what was due then happens then, however late it is."""
    token = _standing.set(moment)
    try:
        yield
    finally:
        _standing.reset(token)


def iso(moment: int) -> str:
    """A moment as the v2 API writes it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def later(moment: int, interval: str, count: int) -> int:
    """The moment that many days, weeks, months or years on; a month without a 31st ends on its last day."""
    if interval in {"day", "week"}:
        return moment + count * (7 if interval == "week" else 1) * 86_400
    start = datetime.fromtimestamp(moment, UTC)
    months = start.month - 1 + count * (12 if interval == "year" else 1)
    year, month = start.year + months // 12, months % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())
