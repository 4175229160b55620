"""What callers ask for and how they give up, with the account of what each call must lead to."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, multiple, rule

from accounts.keys import keys
from billing.models import Hold
from images.catalog import FLUX_SCHNELL
from images.jobs import generation, idempotency
from images.jobs.generation_request import IdempotentCall
from images.jobs.refusals import ContentPolicyViolation, DeadlineImpossible, IdempotencyKeyReused
from images.models import Generation
from images.queue import signals
from tests.images import make
from tests.images.jobs.state_machine.base import (
    PowerCut,
    any_number,
    caps,
    cuts,
    jobs,
    limits_in_flight,
    mostly_not,
    power_cut,
    seen,
    sizes,
)
from tests.images.jobs.state_machine.clocks import Clocks
from tests.images.jobs.state_machine.model import Job, spent
from tests.images.jobs.state_machine.owner_changes import OwnerChanges

FORBIDDEN = "child porn"
idempotency_keys = st.sampled_from(["order 1", "order 2"])


def next_month(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)


class Callers(Clocks, OwnerChanges):
    """Calls with keys and from the playground, repeated, joined, given up."""

    @initialize(
        target=jobs,
        limits=st.lists(st.tuples(caps, limits_in_flight), min_size=4, max_size=4),
        calls=st.lists(st.tuples(any_number, st.none() | idempotency_keys), min_size=6, max_size=6),
        at_midnight=st.booleans(),
        subscribers=st.lists(
            st.tuples(st.integers(1, 2), st.sampled_from([True, True, False])),
            min_size=1,
            max_size=3,
        ),
    )
    def a_first_crowd(
        self,
        limits: list[tuple[int | None, int | None]],
        calls: list[tuple[int, str | None]],
        at_midnight: bool,  # noqa: FBT001
        subscribers: list[tuple[int, bool]],
    ) -> Any:
        """Limits for two organizations and a key of each, replaced keys, subscriptions, and jobs to play with."""
        for number, lasts in subscribers:
            self.subscription_begins(number)
            if not lasts:
                self.subscription_ends(number)
        for number, (cap, limit) in enumerate(limits[:2]):
            self.set_the_organizations_cap(number, cap)
            self.set_the_organizations_places(number, limit)
        for number, (cap, limit) in enumerate(limits[2:]):
            self.change_a_key(2 * number, cap, limit)
            self.rotate_a_key(2 * number, timedelta(days=1))
        admitted = []
        for place, (number, key) in enumerate(calls):
            if at_midnight and place == len(calls) // 2:
                self.true.month = next_month(self.true.month)
            admitted.append(self.call(number, "512x512", "a red fox", key))
        return multiple(*filter(None, admitted))

    @rule(target=jobs, number=any_number, size=sizes, cut=cuts)
    def ask(self, number: int, size: str, cut: int | None) -> Any:
        """A plain call."""
        return self.call(number, size, "a red fox", cut=cut) or multiple()

    # Each rule is as likely as any other, and hypothesis leaves some out of each play.
    @rule(target=jobs, number=any_number, size=sizes, in_the_playground=mostly_not, lags=mostly_not)
    def ask_for_more(self, number: int, size: str, in_the_playground: bool, lags: bool) -> Any:  # noqa: FBT001
        """The clock of the host may lie behind that of another, on the first of the month."""
        self.clock_lags = lags
        try:
            if in_the_playground:
                return self.in_the_playground(number, size) or multiple()
            return self.call(number, size, "a red fox") or multiple()
        finally:
            self.clock_lags = False

    @rule(
        target=jobs,
        number=any_number,
        size=sizes,
        idempotency_key=idempotency_keys,
        prompt=st.sampled_from(["a red fox", "a red fox", "a blue fox", FORBIDDEN]),
        cut=cuts,
    )
    def ask_by_key(
        self, number: int, size: str, idempotency_key: str, prompt: str, cut: int | None
    ) -> Any:
        """A call with an Idempotency-Key, the first of it or not, and with the same body or not."""
        return self.call(number, size, prompt, idempotency_key, cut=cut) or multiple()

    @rule(
        target=jobs,
        job=jobs,
        retry_count=st.sampled_from([1, 1, 2, 0]),
        times=st.integers(1, 2),
        cut=cuts,
    )
    def ask_again(self, job: str, retry_count: int, times: int, cut: int | None) -> Any:
        """The same call as an earlier one, whose answer was lost or is under way."""
        row = Generation.objects.get(pk=job)
        numbers = [n for n, key in enumerate(self.true.keys) if key.pk == row.api_key_id]
        name = self.true.jobs[job].first_idempotency_key
        again = [
            self.call(number, row.size, row.prompt, name, retry_count=retry_count, cut=cut)
            for number in numbers * times
        ]
        return multiple(*filter(None, again))

    @rule(target=jobs, calls=st.lists(st.tuples(any_number, sizes, st.booleans()), max_size=3))
    def month_turns(self, calls: list[tuple[int, str, bool]]) -> Any:
        """On some hosts a second before it does on others; each call comes to one of them."""
        self.true.month = next_month(self.true.month)
        try:
            admitted = []
            for number, size, lags in calls:
                self.clock_lags = lags
                admitted.append(self.call(number, size, "a red fox"))
        finally:
            self.clock_lags = False
        return multiple(*filter(None, admitted))

    def call(
        self,
        number: int,
        size: str,
        prompt: str,
        idempotency_key: str | None = None,
        *,
        retry_count: int = 0,
        cut: int | None = None,
    ) -> str | None:
        """A call with a key, as the API hands it on; the id of a new job, where there is one."""
        held = self.key(number)
        row = keys.find(held.secret)
        assert (row is None) == held.dead
        if row is None:
            seen["dead key"] += 1
            return None
        asked: dict[str, Any] = {
            "model": FLUX_SCHNELL.id,
            "prompt": prompt,
            "size": size,
            "seed": 1,
        }
        call = IdempotentCall(idempotency.digest(asked), idempotency_key, retry_count)
        organization = held.organization

        named = self.true.named(organization, idempotency_key)
        if named and named.is_over:
            seen["key freed"] += 1
            # Found out and freed before anything else: a statement of its own.
            self.true.captures[organization, idempotency_key] = 0
            named.idempotency_key = None
            named = cut = None
        expected = named
        if idempotency_key is None and retry_count:
            expected = self.true.offered(held.pk, call.body_digest, retry_count)
        if expected:
            cut = None
        month = self.month_of(organization)
        offer = self.true.offer(organization, size, self.prices[size])
        hindrances = self.true.hindrances(organization, held.line, offer, month)
        if prompt == FORBIDDEN:
            hindrances = {ContentPolicyViolation}
        try:
            with power_cut(cut):
                admitted = make.requested(
                    organization=row.organization,
                    api_key=row,
                    call=call,
                    request_id="req_test",
                    **asked,
                )
        except PowerCut:
            return None
        except IdempotencyKeyReused:
            seen["key reused"] += 1
            assert named and named.digest != call.body_digest
            return None
        except (*hindrances, DeadlineImpossible) as refusal:  # type: ignore[misc]
            assert expected is None
            self.refused(type(refusal), hindrances)
            return None
        if expected:
            seen["shared by key" if idempotency_key else "joined"] += 1
            assert admitted.shared and self.true.jobs[admitted.job.pk] is expected
            assert expected.digest == call.body_digest
            expected.share(call)
            return None
        assert not admitted.shared and not hindrances
        seen["admitted"] += 1
        return self.admitted(admitted.job, held.line, call, offer, month)

    def in_the_playground(self, number: int, size: str) -> str | None:
        """The same without a key: only the organization's limits hold."""
        organization = self.organization(number)
        asked: dict[str, Any] = {
            "model": FLUX_SCHNELL.id,
            "prompt": "a red fox",
            "size": size,
            "seed": 1,
        }
        offer = self.true.offer(organization.pk, size, self.prices[size])
        month = self.month_of(organization.pk)
        hindrances = self.true.hindrances(organization.pk, None, offer, month)
        try:
            admitted = make.requested(organization=organization, request_id="req_test", **asked)
        except (*hindrances, DeadlineImpossible) as refusal:  # type: ignore[misc]
            self.refused(type(refusal), hindrances)
            return None
        assert not hindrances
        return self.admitted(admitted.job, None, None, offer, month)

    def admitted(
        self,
        job: Generation,
        line: int | None,
        call: IdempotentCall | None,
        offer: tuple[str, int],
        month: date,
    ) -> str:
        """Enter a new job, after a look that its hold remembers the tightest limit of that moment."""
        organization = job.organization_id
        payer, price = offer
        seen[f"paid by {payer}"] += 1
        limits = [
            (spent(jobs, month) + price, owner.cap)
            for owner, jobs in self.true.limits(organization, line)
            if owner.cap is not None
        ]
        if payer == "credit":
            so_far = spent(self.true.on_credit(organization))
            limits.append((so_far + price, self.true.granted[organization]))
        hold = Hold.objects.get(pk=job.hold_id)
        if limits:
            assert (hold.reserved_micros, hold.cap_micros) in limits
            assert hold.cap_micros - hold.reserved_micros == min(cap - sum_ for sum_, cap in limits)
        else:
            assert hold.cap_micros is None
        assert (hold.organization_id, hold.payer, hold.amount_micros, hold.month) == (
            organization,
            payer,
            price,
            month,
        )
        cap = self.true.organizations[organization].cap
        highest = self.true.highest_cap.get((organization, month), 0)
        self.true.highest_cap[organization, month] = max(
            highest, float("inf") if cap is None else cap
        )
        self.true.jobs[job.pk] = Job(
            organization=organization,
            key=job.api_key_id,
            line=line,
            price=price,
            payer=payer,
            month=month,
            digest=call.body_digest if call else "",
            idempotency_key=call.key if call else None,
            first_idempotency_key=call.key if call else None,
            retry_count=call.retry_count if call else 0,
        )
        return job.pk

    def refused(self, kind: type[Exception], hindrances: set[type[Exception]]) -> None:
        """With a good reason, or because the fleet is too slow: hints, which may be lost, say so."""
        seen[kind.__name__] += 1
        assert kind in hindrances or signals.live_workers()

    @rule(
        job=jobs,
        how=st.sampled_from([generation.cancel, generation.cancel_abandoned, generation.expire]),
        cut=cuts,
        rolled_back=mostly_not,
    )
    def give_up(
        self,
        job: str,
        how: Callable[[Generation], bool],
        cut: int | None,
        rolled_back: bool,  # noqa: FBT001
    ) -> None:
        """A DELETE, a caller who hung up, or a deadline that the caller's own thread has seen."""
        self.end_early(job, how, cut, rolled_back=rolled_back)

    @rule(
        target=jobs,
        number=any_number,
        how=st.sampled_from(
            [None, generation.cancel, generation.cancel_abandoned, generation.expire, None]
        ),
    )
    def ask_in_vain(self, number: int, how: Callable[[Generation], bool] | None) -> Any:
        """The same at once, before a worker has seen the job; None: the reaper is the first to see it."""
        job = self.call(number, "512x512", "a red fox")
        if job is None:
            return multiple()
        if how:
            self.end_early(job, how, None, rolled_back=False)
        else:
            self.deadline_passes(job)
            self.reap()
        return job

    def end_early(
        self,
        job: str,
        how: Callable[[Generation], bool],
        cut: int | None,
        *,
        rolled_back: bool,
    ) -> None:
        true = self.true.jobs[job]
        row = Generation.objects.select_related("hold").get(pk=job)
        unshared = true.idempotency_key is None and not true.is_joined
        # I8: what has begun is charged once it is delivered, whoever has stopped waiting.
        expected = true.status == "queued" and (how is not generation.cancel_abandoned or unshared)
        done, result = self.attempt_at(lambda: how(row), cut, rolled_back=rolled_back)
        if done:
            assert result == expected
            seen[f"{how.__name__} {result}"] += 1
            if expected:
                true.end("expired" if how is generation.expire else "canceled")

    @rule(job=jobs)
    def answer_is_lost(self, job: str) -> None:
        """Seen to be lost; what was not seen changes nothing."""
        true = self.true.jobs[job]
        idempotency.note_lost_answer(Generation.objects.get(pk=job))
        true.is_lost |= true.idempotency_key is None and true.key is not None
        seen["lost"] += 1
