"""Whose turn it is: fair shares between organisations, and how long a job waits for its own turn.

The organisation with the fewest images in work comes first, then the one that was served longest
ago, then the one whose job is oldest. So a burst of one customer delays another by one turn.
"""

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Count, Min
from django.db.models.functions import Now

from images.catalog import MODELS, Model
from images.models import Generation, GenerationQuerySet, LastServed
from images.queue import signals

NEVER = datetime.min.replace(tzinfo=UTC)
FORECAST_SECONDS = 1.0
# Encoding and storing a drawn picture, charging for it and waking its caller, generously.
DELIVERY_SECONDS = 0.5
# One drawing may take this many times what drawings took lately.
PACE_VARIES = 1.2


@dataclass(frozen=True)
class WaitingOrganization:
    """One organisation with jobs in the queue; `oldest` is when its first one came."""

    organization_id: int
    jobs: int
    oldest: datetime


def organizations_in_order(model: Model) -> list[WaitingOrganization]:
    """The organisations that wait for this model, the next one to be served first."""
    rows = (
        Generation.objects.queued(model.id)
        .filter(deadline_at__gt=Now())
        .order_by()
        .values_list("organization_id")
        .annotate(jobs=Count("pk"), oldest=Min("created_at"))
    )
    waiting = [WaitingOrganization(*row) for row in rows]
    if len(waiting) < 2:  # noqa: PLR2004 - nobody to compare with
        return waiting
    in_work = dict(
        Generation.objects.filter(status=Generation.Status.RUNNING)
        .order_by()
        .values_list("organization_id")
        .annotate(Count("pk"))
    )
    served = dict(
        LastServed.objects.filter(
            organization__in=[one.organization_id for one in waiting]
        ).values_list("organization_id", "served_at")
    )
    return sorted(
        waiting,
        key=lambda one: (
            in_work.get(one.organization_id, 0),
            served.get(one.organization_id, NEVER),
            one.oldest,
        ),
    )


def record_served(organization_id: int) -> None:
    """Note that a job of this organisation was taken up, on the database's clock."""
    LastServed.objects.bulk_create(
        [LastServed(organization_id=organization_id, served_at=Now())],
        update_conflicts=True,
        unique_fields=["organization"],
        update_fields=["served_at"],
    )


def jobs_ahead(job: Generation, model: Model) -> int:
    """How many jobs are taken up before this queued one, if nobody else comes."""
    earlier = Generation.objects.queued(model.id).filter(
        organization=job.organization_id, created_at__lt=job.created_at, deadline_at__gt=Now()
    )
    own = earlier.count()
    ahead, before_me = own, True
    for one in organizations_in_order(model):
        if one.organization_id == job.organization_id:
            before_me = False
        else:
            # Each of the others has as many turns as we do until then, and one more if it begins.
            ahead += min(one.jobs, own + before_me)
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
        """Until its picture is there."""
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


def forecast(model: Model) -> QueueForecast:
    """As it was less than a second ago, so that a crowd of callers asks once."""
    asked_at, seen = _seen.get(model.id, (-math.inf, None))
    if seen is None or time.monotonic() - asked_at > FORECAST_SECONDS:
        seen = _look(model)
        _seen[model.id] = (time.monotonic(), seen)
    return seen


_seen: dict[str, tuple[float, QueueForecast]] = {}


def forget() -> None:
    """Look again the next time somebody asks."""
    _seen.clear()


def _look(model: Model) -> QueueForecast:
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
    """The job's place; None once it has left the queue."""
    if job.status != Generation.Status.QUEUED:
        return None
    model = MODELS[job.model]
    ahead = jobs_ahead(job, model)
    wait = forecast(model).wait_seconds(ahead)
    return QueuePosition(ahead + 1, None if wait is None else math.ceil(wait))


def longest_wait() -> float | None:
    """Seconds until the last job that waits now is taken up; None when nobody can know."""
    waits = [look.wait_seconds(look.backlog) for look in map(forecast, MODELS.values())]
    return max((wait for wait in waits if wait is not None), default=None)


def seconds_until_one_ends(jobs: GenerationQuerySet) -> float | None:
    """Until the first of these jobs has ended; 0 when none is under way, None when nobody can know."""
    first = jobs.unfinished().order_by("created_at").first()
    if first is None:
        return 0.0
    model = MODELS[first.model]
    ahead = jobs_ahead(first, model) if first.status == Generation.Status.QUEUED else 0
    return forecast(model).whole_seconds(ahead, first.size)
