"""Where the time of a generation went."""

from dataclasses import dataclass
from datetime import datetime

from images.models import Generation


@dataclass(frozen=True)
class Timings:
    """Seconds of each part; None for one that has not ended, or never began."""

    queued: float | None
    drawn: float | None
    stored: float | None
    whole: float | None


def timings_of(generation: Generation) -> Timings:
    """Waiting for a worker, drawing, encoding and storing, and all of it."""
    created, started = generation.created_at, generation.started_at
    drawn, ended = generation.drawn_at, generation.ended_at
    return Timings(
        queued=_between(created, started or ended),
        drawn=_between(started, drawn),
        stored=_between(drawn, ended),
        whole=_between(created, ended),
    )


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return max(0.0, (end - start).total_seconds()) if start and end else None
