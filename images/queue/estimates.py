"""How long a job waits, and how many are ahead of it, as far as anybody can tell."""

import math
import time
from dataclasses import dataclass

from django.db.models.functions import Now

from images.catalog import MODELS, Model
from images.models import Generation, GenerationQuerySet
from images.queue import signals
from images.queue.fairness import organizations_in_order

# A forecast is kept for so long, so that a crowd of callers costs one.
FORECAST_SECONDS = 1.0
# Encoding and storing a drawn picture, charging for it and waking its caller, generously.
DELIVERY_SECONDS = 0.5
# One drawing may take this many times what drawings took lately.
PACE_VARIES = 1.2


def jobs_ahead(job: Generation, model: Model) -> int:
    """How many jobs are taken up before this queued one, if nobody else comes."""
    earlier = Generation.objects.queued(model.id).filter(
        organization=job.organization_id, created_at__lt=job.created_at, deadline_at__gt=Now()
    )
    own = earlier.count()
    ahead, is_before = own, True
    for other in organizations_in_order(model):
        if other.organization_id == job.organization_id:
            is_before = False
        else:
            # It is served as often as the job's own organization until then, once more if it is first.
            ahead += min(other.jobs, own + is_before)
    return ahead


@dataclass(frozen=True)
class QueueForecast:
    """How fast the fleet draws: `seconds` for one picture on one worker, None before the first."""

    workers: int
    busy: int
    seconds: float | None
    seconds_by_size: dict[str, float]
    backlog: int

    def wait_seconds(self, ahead: int) -> float | None:
        """Until a job with so many ahead of it is taken up; None when nobody can know."""
        if not self.workers or self.seconds is None:
            return None
        # A worker that draws is half done, on average.
        return (
            (ahead + self.busy / 2) * self.seconds / self.workers if ahead or self.all_busy else 0.0
        )

    @property
    def all_busy(self) -> bool:
        return self.busy >= self.workers

    def whole_seconds(self, ahead: int, size: str) -> float | None:
        """Until its picture is drawn; None when nobody can know."""
        wait = self.wait_seconds(ahead)
        if wait is None or self.seconds is None:
            return None
        return wait + self.drawing_seconds(size)

    def delivered_seconds(self, ahead: int, size: str) -> float | None:
        """Until its picture has reached the caller, if the drawing takes somewhat longer than usual."""
        whole = self.whole_seconds(ahead, size)
        if whole is None:
            return None
        return whole + (PACE_VARIES - 1) * self.drawing_seconds(size) + DELIVERY_SECONDS

    def drawing_seconds(self, size: str) -> float:
        """One drawing of that size, on one worker; 0 where nobody can know."""
        return self.seconds_by_size.get(size, self.seconds or 0.0)


_forecasts: dict[str, tuple[float, QueueForecast]] = {}


def forecast(model: Model) -> QueueForecast:
    """The fleet and the queue of this model, as they were at most a second ago."""
    measured_at, known = _forecasts.get(model.id, (-math.inf, None))
    if known is None or time.monotonic() - measured_at > FORECAST_SECONDS:
        known = _measure(model)
        _forecasts[model.id] = (time.monotonic(), known)
    return known


def clear_forecasts() -> None:
    """Measure again the next time that somebody asks."""
    _forecasts.clear()


def _measure(model: Model) -> QueueForecast:
    workers = [worker for worker in signals.live_workers() if worker.model == model.id]
    paces = [worker.seconds for worker in workers if worker.seconds is not None]
    running = Generation.objects.filter(status=Generation.Status.RUNNING, model=model.id)
    by_size: dict[str, float] = {}
    for worker in workers:
        for size, seconds in worker.seconds_by_size.items():
            by_size[size] = max(seconds, by_size.get(size, 0.0))
    return QueueForecast(
        workers=len(workers),
        busy=min(len(workers), running.count()),
        seconds=sum(paces) / len(paces) if paces else None,
        seconds_by_size=by_size,
        backlog=Generation.objects.queued(model.id).filter(deadline_at__gt=Now()).count(),
    )


@dataclass(frozen=True)
class QueuePosition:
    """Where a job stands in the queue: 1 is next; and the whole seconds until it is taken up, if known."""

    position: int
    wait_seconds: int | None


def position_of(job: Generation) -> QueuePosition | None:
    """Where the job stands; None once it has left the queue."""
    if job.status != Generation.Status.QUEUED:
        return None
    model = MODELS[job.model]
    ahead = jobs_ahead(job, model)
    wait = forecast(model).wait_seconds(ahead)
    return QueuePosition(ahead + 1, None if wait is None else math.ceil(wait))


def longest_wait() -> float | None:
    """Seconds until the last job that waits now is taken up; None when nobody can know."""
    forecasts = map(forecast, MODELS.values())
    waits = [one.wait_seconds(one.backlog) for one in forecasts]
    return max((wait for wait in waits if wait is not None), default=None)


def seconds_until_one_ends(jobs: GenerationQuerySet) -> float | None:
    """Until the first of these jobs has ended; 0 when none is under way, None when nobody can know."""
    first = jobs.unfinished().order_by("created_at").first()
    if first is None:
        return 0.0
    model = MODELS[first.model]
    ahead = jobs_ahead(first, model) if first.status == Generation.Status.QUEUED else 0
    return forecast(model).whole_seconds(ahead, first.size)
