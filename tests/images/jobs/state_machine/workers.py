"""What GPU workers do with jobs: claim, draw, deliver, fail, die and come back."""

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import consumes, multiple, rule

from images.catalog import FLUX_SCHNELL
from images.jobs import leases
from images.models import Generation
from images.pictures import storage
from images.queue import estimates, signals
from tests.images.jobs.state_machine.base import claims, cuts, mostly_not, seen
from tests.images.jobs.state_machine.clocks import Clocks
from tests.images.make import stored

workers = st.sampled_from(["gpu-1", "gpu-2", "gpu-3"])


class Workers(Clocks):
    """Three of them; each claim may be answered by any of these, more than once."""

    @rule(target=claims, worker=workers)
    def claim(self, worker: str) -> Any:
        """A worker that forgets its claim has crashed."""
        return self.take_up(worker) or multiple()

    def take_up(self, worker: str) -> Generation | None:
        """The claim, after a look that it was that job's turn."""
        waiting = {
            pk: job
            for pk, job in self.true.jobs.items()
            if job.status == "queued" and not job.is_overdue
        }
        taken = leases.claim(model=FLUX_SCHNELL, worker=worker)
        if taken is None:
            assert not waiting
            return None
        true = waiting[taken.pk]
        busy = Counter(
            job.organization for job in self.true.jobs.values() if job.status == "running"
        )
        assert busy[true.organization] == min(busy[job.organization] for job in waiting.values())
        assert next(j for j in waiting.values() if j.organization == true.organization) is true
        true.status, true.attempt, true.lease_is_out = "running", true.attempt + 1, False
        assert taken.attempt == true.attempt
        return taken

    @rule(claim=claims, cut=cuts, rolled_back=mostly_not)
    def deliver(self, claim: Generation, cut: int | None, rolled_back: bool) -> None:  # noqa: FBT001
        """By the holder of the lease, once more, or by a worker that was thought dead."""
        self.deliver_picture(claim, cut, rolled_back=rolled_back)

    @rule(claim=consumes(claims))
    def deliver_and_go_on(self, claim: Generation) -> None:
        """What happens nearly always."""
        self.deliver_picture(claim, None, rolled_back=False)

    @rule(target=claims, worker=workers)
    def draw(self, worker: str) -> Any:
        """The same, from the claim on; the worker may come back with its picture later."""
        claim = self.take_up(worker)
        if claim is None:
            return multiple()
        self.deliver_picture(claim, None, rolled_back=False)
        return claim

    @rule(workers=st.lists(workers, min_size=1, max_size=2))
    def draw_more(self, workers: list[str]) -> None:
        for claim in filter(None, [self.take_up(worker) for worker in workers]):
            self.deliver_picture(claim, None, rolled_back=False)
        self.seal()

    def deliver_picture(self, claim: Generation, cut: int | None, *, rolled_back: bool) -> None:
        true = self.true.jobs[claim.pk]
        if true.is_purged:
            return
        picture = stored(claim)
        done, result = self.attempt_at(
            lambda: leases.deliver(claim, picture), cut, rolled_back=rolled_back
        )
        if not done:
            return
        if true.is_held_in(claim.attempt):
            assert result
            seen["captured"] += 1
            true.end("succeeded")
            if true.idempotency_key:
                self.true.captures[true.organization, true.idempotency_key] += 1
        delivered = true.status == "succeeded" and true.attempt == claim.attempt
        assert result == delivered
        seen[f"delivered {result}"] += 1
        if not delivered:
            storage.remove_attempt(claim.pk, claim.attempt)

    @rule(
        target=claims,
        worker=workers,
        times=st.integers(1, 3),
        dies=st.booleans(),
        is_late=mostly_not,
    )
    def fail(self, worker: str, times: int, dies: bool, is_late: bool) -> Any:  # noqa: FBT001
        """From the claim on. A dead worker's job is found by the reaper, after its deadline too."""
        taken = []
        for _ in range(times):
            claim = self.take_up(worker)
            if claim is None:
                break
            taken.append(claim)
            if is_late:
                self.deadline_passes(claim.pk)
            if dies:
                self.lease_runs_out(claim.pk)
                self.reap()
            else:
                self.hand_back(claim, None, rolled_back=False)
        return multiple(*taken)

    @rule(target=claims, verb=st.sampled_from(["deliver", "renew", "hand_back"]))
    def come_back_from_the_dead(self, verb: str) -> Any:
        """While another worker draws the same job, if it is that one's turn."""
        dead = self.take_up("gpu-1")
        if dead is None:
            return multiple()
        self.lease_runs_out(dead.pk)
        self.reap()
        other = self.take_up("gpu-2")
        if verb == "deliver":
            self.deliver_picture(dead, None, rolled_back=False)
        elif verb == "renew":
            assert leases.renew(dead) == self.true.jobs[dead.pk].is_held_in(dead.attempt)
        else:
            self.hand_back(dead, None, rolled_back=False)
        return other or multiple()

    @rule(claim=claims, cut=cuts, rolled_back=mostly_not)
    def give_back(self, claim: Generation, cut: int | None, rolled_back: bool) -> None:  # noqa: FBT001
        """By the holder of the lease, or by a worker that was thought dead."""
        self.hand_back(claim, cut, rolled_back=rolled_back)

    def hand_back(self, claim: Generation, cut: int | None, *, rolled_back: bool) -> None:
        true = self.true.jobs[claim.pk]
        done, _ = self.attempt_at(
            lambda: leases.hand_back(claim, "engine_failed"), cut, rolled_back=rolled_back
        )
        if done and true.is_held_in(claim.attempt):
            true.lose_attempt()
            seen[f"handed back and {true.status}"] += 1

    @rule(claim=claims)
    def renew(self, claim: Generation) -> None:
        true = self.true.jobs[claim.pk]
        held = true.is_held_in(claim.attempt)
        assert leases.renew(claim) == held
        if held:
            true.lease_is_out = False

    @rule(name=workers, seconds=st.sampled_from([None, 0.1, 1_000.0]))
    def beat(self, name: str, seconds: float | None) -> None:
        """A slow fleet lets jobs be refused that cannot be drawn in time."""
        estimates.clear_forecasts()
        signals.deregister(name)
        if seconds:
            signals.heartbeat(signals.LiveWorker(name, FLUX_SCHNELL.id, "idle", "blank", seconds))
