"""Time, and the periodic tasks that it starts."""

from datetime import timedelta

from django.conf import settings
from django.db.models import F
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import rule

from billing.reporting import batching
from images.jobs import leases
from images.models import Generation, Image
from images.pictures import storage
from tests.images.jobs.state_machine.base import FINAL, BaseMachine, jobs, seen

# A picture's life is over; the purge comes a minute later.
LAPSED = timedelta(seconds=settings.IMAGE_LIFETIME_SECONDS + 20)
PURGEABLE = LAPSED + timedelta(minutes=5)


class Clocks(BaseMachine):
    """Leases and deadlines that run out, pictures that get old; reaping, sealing, purging."""

    @rule(
        job=jobs,
        what=st.sampled_from(["deadline", "lease", "deadline", "lease", "day", "day and more"]),
        seen_to=st.booleans(),
    )
    def time_passes(self, job: str, what: str, seen_to: bool) -> None:  # noqa: FBT001
        """A lease and a deadline are one job's; a day passes for all that have ended."""
        if what == "lease":
            self.lease_runs_out(job)
        elif what == "deadline":
            self.deadline_passes(job)
        else:
            self.a_day_passes(LAPSED if what == "day" else PURGEABLE)
        if seen_to:
            self.reap()
            self.purge()

    @rule(task=st.sampled_from(["reap", "seal", "seal", "seal", "purge", "sweep"]))
    def beat_runs(self, task: str) -> None:
        getattr(self, task)()

    def lease_runs_out(self, job: str) -> None:
        past = timezone.now() - timedelta(seconds=1)
        running = Generation.objects.filter(pk=job, status="running")
        if running.update(lease_until=past):
            self.true.jobs[job].lease_is_out = True

    def deadline_passes(self, job: str) -> None:
        past = timezone.now() - timedelta(seconds=10)
        Generation.objects.filter(pk=job).update(deadline_at=past)
        self.true.jobs[job].is_overdue = True

    def a_day_passes(self, ago: timedelta) -> None:
        times = ("created_at", "deadline_at", "ended_at")
        for pk, true in self.true.jobs.items():
            if true.status in FINAL and not true.is_over:
                job = Generation.objects.filter(pk=pk)
                job.update(**{name: F(name) - ago for name in times})
                Image.objects.filter(pk=pk).update(expires_at=F("expires_at") - ago)
                true.is_over, true.is_purgeable = True, ago is PURGEABLE

    def reap(self) -> None:
        touched = 0
        for job in self.true.jobs.values():
            if job.status == "queued" and job.is_overdue:
                job.end("expired")
                seen["reaped overdue"] += 1
                touched += 1
            elif job.status == "running" and job.lease_is_out:
                job.lose_attempt()
                seen[f"lease lost and {job.status}"] += 1
                touched += 1
        assert leases.reap() == touched

    def sweep(self) -> None:
        leases.sweep()

    def purge(self) -> None:
        purged = {
            pk for pk, job in self.true.jobs.items() if job.is_purgeable and not job.is_purged
        }
        assert leases.purge() == len(purged)
        for pk in purged:
            job = self.true.jobs[pk]
            if job.idempotency_key:
                self.true.captures[job.organization, job.idempotency_key] = 0
            seen["purged"] += 1
            job.is_purged, job.idempotency_key = True, None
            assert not storage.pictures().exists(storage.key_of(pk, job.attempt))

    def seal(self) -> None:
        """I5: twice, and from now on each image stays where it is."""
        seen["sealed"] += batching.seal()
        assert batching.seal() == 0
        assert not batching.open_use().exists()
