"""Whatever happens to jobs and in whatever order, the books are right after each step of it.

Hypothesis plays callers, workers, staff, clocks and power cuts against the real verbs. Beside the
database a second account of what must be true (`account`) is kept in plain Python, and both are compared after
every step. `HYPOTHESIS_PROFILE=thorough` plays for about an hour.

Each play is one transaction that is rolled back in the end, so that a verb's own transactions are
savepoints here. That hides what takes two connections or a real COMMIT: races, locks, a COMMIT without
an answer, hooks on commit. Foreign keys, which a COMMIT would check, are checked at the end of a play.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from accounts import keys
from accounts.models import ApiKey, Organization
from billing import budgets, ledger, metering, pricing, subscriptions
from billing.models import Budget, Credit, Hold, LedgerEntry, Subscription, UsageBatch
from ecohash import reconcile
from images import admission, generation, hints, idempotency, leases, storage, turns
from images.catalog import FLUX_SCHNELL
from images.idempotency import IdempotencyKeyReused
from images.models import Generation, Image
from images.moderation import ContentPolicyViolation
from tests.cast import make_owner
from tests.images.account import Account, Job, Key, Owner, in_flight, spent
from tests.images.jobs import stored

CREDITS = {"Alice": 400_000, "Charlie": 50_000, "Pauper": 0}
SIZES = {"512x512": 10_000, "1024x768": 18_000, "1024x1024": 20_000}
FORBIDDEN = "child porn"
FINAL = {"succeeded", "failed", "moderated", "canceled", "expired"}
# A picture's life is over; the purge comes a minute later.
LAPSED = timedelta(seconds=settings.IMAGE_LIFETIME_SECONDS + 20)
PURGEABLE = LAPSED + timedelta(minutes=5)


class PowerCut(Exception):
    """Whatever ran stops here. No kind that our code knows."""


# What happened in all plays together: a test in which nothing happens proves nothing.
seen: Counter[str] = Counter()
MUST_BE_SEEN = (
    *("admitted", "shared by key", "key reused", "dead key", "rotated", "power cut"),
    *("NoSubscription", "SpendLimitReached", "TooManyInFlight", "SubscriptionEnded"),
    *("paid by credit", "paid by subscription", "subscribed", "sealed"),
    *("captured", "delivered False", "expire True", "reaped overdue"),
    *("handed back and queued", "lease lost and queued", "lease lost and failed"),
)


PAID_FROM = {"credit": "customer_credit", "subscription": "receivable"}
TABLES = (Generation, Hold, Credit, Budget, LedgerEntry, Image, UsageBatch)


def next_month(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)


def table_of(model: Any) -> list[Any]:
    """All of it, as it is."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {model._meta.db_table}")  # noqa: S608 - a name of ours
        return cursor.fetchall()


@contextmanager
def power_cut(after: int | None) -> Iterator[None]:
    """The next statement after that many fails, once; None: no cut. Begin and end of a transaction
    are not counted: what a broken COMMIT leaves behind is unknown by nature.
    """
    left = after

    def cut(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        nonlocal left
        if left is not None and not sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            if left == 0:
                left = None
                seen["power cut"] += 1
                raise PowerCut
            left -= 1
        return execute(sql, params, many, context)

    with connection.execute_wrapper(cut):
        yield


# Mostly none; a verb has fewer statements than the largest.
cuts = st.sampled_from([None] * 12 + list(range(16)))
workers = st.sampled_from(["gpu-1", "gpu-2", "gpu-3"])
amounts = st.sampled_from([1, 10_000, 37_000, 200_000])
overlaps = st.sampled_from([timedelta(0), timedelta(days=1)])
mostly_not = st.sampled_from([False] * 4 + [True])
sizes = st.sampled_from(list(SIZES))
caps = st.sampled_from([None, None, None, 0, 19_999, 30_000, 58_000, 100_000])
limits_in_flight = st.sampled_from([None, None, 1, 3, 4])
# Of six keys, two for each organisation, and of those that replace them; the pauper calls seldom.
any_number = st.sampled_from([0, 0, 1, 1, 2, 2, 3, 4, 6, 6, 7])
idempotency_keys = st.sampled_from(["order 1", "order 2"])


class Play(RuleBasedStateMachine):
    """One sequence of events."""

    jobs = Bundle("jobs")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        hints.client().flushall()
        turns.forget()
        self.true = Account(month=date(2026, 3, 1))
        self.prices = dict(SIZES)
        self.clock_lags = False
        self.rows: list[Any] = []
        self.ledger: list[tuple[Any, ...]] = []
        self.reported: dict[int, Any] = {}
        self.batches: dict[Any, int] = {}
        self.finals: dict[str, tuple[Any, ...]] = {}
        self.clock = pytest.MonkeyPatch()
        # The calendar, and nothing else of ours, is replaced.
        self.clock.setattr(budgets, "this_month", self.this_month)
        for name, credit in CREDITS.items():
            person = make_owner(name, credit_micros=credit)
            pk = person.organization.pk
            self.true.organizations[pk] = Owner(in_flight=settings.IMAGES_IN_FLIGHT)
            self.true.granted[pk] = credit
            second = keys.mint(organization=person.organization, name="Server")
            for key, secret in ((person.key, person.secret), second):
                self.true.lines[key.pk] = Owner()
                self.true.keys.append(Key(key.pk, secret, pk, key.pk))

    def teardown(self) -> None:
        try:
            connection.check_constraints()
        finally:
            self.clock.undo()
            transaction.set_rollback(True)
            self.transaction.__exit__(None, None, None)

    def this_month(self) -> date:
        month = self.true.month
        return (month - timedelta(days=1)).replace(day=1) if self.clock_lags else month

    def month_of(self, organization: int) -> date:
        """The month that its next image counts in: the latest that any host has begun for it."""
        row = Budget.objects.filter(organization=organization, api_key=None).first()
        return max(row.month, self.this_month()) if row else self.this_month()

    def key(self, number: int) -> Key:
        return self.true.keys[number % len(self.true.keys)]

    def organization(self, number: int) -> Organization:
        pks = list(self.true.organizations)
        return Organization.objects.get(pk=pks[number % len(pks)])

    # --- callers ----------------------------------------------------------------------------------

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
        """Limits for two organisations and a key of each, replaced keys, subscriptions, and jobs to play with."""
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
        is_retry=st.sampled_from([True, True, False]),
        times=st.integers(1, 2),
        cut=cuts,
    )
    def ask_again(self, job: str, is_retry: bool, times: int, cut: int | None) -> Any:  # noqa: FBT001
        """The same call as an earlier one, whose answer was lost or is under way."""
        row = Generation.objects.get(pk=job)
        numbers = [n for n, key in enumerate(self.true.keys) if key.pk == row.api_key_id]
        name = self.true.jobs[job].first_idempotency_key
        again = [
            self.call(number, row.size, row.prompt, name, is_retry=is_retry, cut=cut)
            for number in numbers * times
        ]
        return multiple(*filter(None, again))

    def call(
        self,
        number: int,
        size: str,
        prompt: str,
        idempotency_key: str | None = None,
        *,
        is_retry: bool = False,
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
        call = idempotency.Call(idempotency.digest(asked), idempotency_key, is_retry)
        organization = held.organization

        named = self.true.named(organization, idempotency_key)
        if named and named.is_over:
            seen["key freed"] += 1
            # Found out and freed before anything else: a statement of its own.
            self.true.captures[organization, idempotency_key] = 0
            named.idempotency_key = None
            named = cut = None
        expected = named
        if idempotency_key is None and is_retry:
            expected = self.true.joinable(held.pk, call.body_digest)
        if expected:
            cut = None
        month = self.month_of(organization)
        offer = self.true.offer(organization, size, self.prices[size])
        hindrances = self.true.hindrances(organization, held.line, offer, month)
        if prompt == FORBIDDEN:
            hindrances = {ContentPolicyViolation}
        try:
            with power_cut(cut):
                admitted = admission.request_image(
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
        except (*hindrances, generation.DeadlineImpossible) as refusal:  # type: ignore[misc]
            assert expected is None
            self.refused(type(refusal), hindrances)
            return None
        if expected:
            seen["shared by key" if idempotency_key else "joined"] += 1
            assert admitted.shared and self.true.jobs[admitted.job.pk] is expected
            assert expected.digest == call.body_digest
            expected.is_joined |= idempotency_key is None
            return None
        assert not admitted.shared and not hindrances
        seen["admitted"] += 1
        return self.admitted(admitted.job, held.line, call, offer, month)

    def in_the_playground(self, number: int, size: str) -> str | None:
        """The same without a key: only the organisation's limits hold."""
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
            admitted = admission.request_image(
                organization=organization, request_id="req_test", **asked
            )
        except (*hindrances, generation.DeadlineImpossible) as refusal:  # type: ignore[misc]
            self.refused(type(refusal), hindrances)
            return None
        assert not hindrances
        return self.admitted(admitted.job, None, None, offer, month)

    def admitted(
        self,
        job: Generation,
        line: int | None,
        call: idempotency.Call | None,
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
        )
        return job.pk

    def refused(self, kind: type[Exception], hindrances: set[type[Exception]]) -> None:
        """With a good reason, or because the fleet is too slow: hints, which may be lost, say so."""
        seen[kind.__name__] += 1
        assert kind in hindrances or hints.live_workers()

    def attempt_at(
        self, verb: Callable[[], Any], cut: int | None, *, rolled_back: bool
    ) -> tuple[bool, Any]:
        """(whether it came to its end, what it returned); otherwise nothing may have happened."""
        try:
            with transaction.atomic(), power_cut(cut):
                result = verb()
                if rolled_back:
                    raise PowerCut  # noqa: TRY301 - the block is what is rolled back
        except PowerCut:
            return False, None
        return True, result

    @rule(
        job=jobs,
        how=st.sampled_from([generation.cancel, generation.leave, generation.expire]),
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
        how=st.sampled_from([generation.cancel, generation.leave, generation.expire, None]),
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
        expected = true.status == "queued" and (how is generation.cancel or unshared)
        if how is generation.expire:
            expected = true.status in {"queued", "running"}
        done, result = self.attempt_at(lambda: how(row), cut, rolled_back=rolled_back)
        if done:
            assert result == expected
            seen[f"{how.__name__} {result}"] += 1
            if expected:
                true.end("expired" if how is generation.expire else "canceled")

    @rule(job=jobs, whole=st.booleans(), shared=st.booleans())
    def answer_is_written_or_lost(self, job: str, whole: bool, shared: bool) -> None:  # noqa: FBT001
        true = self.true.jobs[job]
        if true.status != "succeeded":
            return
        idempotency.note_answer(Generation.objects.get(pk=job), whole, shared=shared)
        if true.idempotency_key is None:
            true.is_answered |= whole
            true.is_joined &= whole or not shared or true.is_answered

    # --- workers ----------------------------------------------------------------------------------

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

    @rule(target=claims, worker=workers, times=st.integers(1, 3), dies=st.booleans())
    def fail(self, worker: str, times: int, dies: bool) -> Any:  # noqa: FBT001
        """From the claim on. A dead worker's job is found by the reaper."""
        taken = []
        for _ in range(times):
            claim = self.take_up(worker)
            if claim is None:
                break
            taken.append(claim)
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
        turns.forget()
        hints.sign_off(name)
        if seconds:
            hints.beat(hints.Worker(name, FLUX_SCHNELL.id, "idle", "blank", seconds))

    # --- time -------------------------------------------------------------------------------------

    @rule(
        job=jobs,
        what=st.sampled_from(["lease", "lease", "deadline", "day", "day and more"]),
        seen_to=st.booleans(),
    )
    def time_passes(self, job: str, what: str, seen_to: bool) -> None:  # noqa: FBT001
        """For one job alone; the others are as young as they were."""
        if what == "lease":
            self.lease_runs_out(job)
        elif what == "deadline":
            self.deadline_passes(job)
        else:
            self.a_day_passes(job, LAPSED if what == "day" else PURGEABLE)
        if seen_to:
            self.reap()
            self.purge()

    @rule(chore=st.sampled_from(["reap", "seal", "seal", "seal", "purge", "sweep"]))
    def beat_rings(self, chore: str) -> None:
        getattr(self, chore)()

    def lease_runs_out(self, job: str) -> None:
        past = timezone.now() - timedelta(seconds=1)
        running = Generation.objects.filter(pk=job, status="running")
        if running.update(lease_until=past):
            self.true.jobs[job].lease_is_out = True

    def deadline_passes(self, job: str) -> None:
        past = timezone.now() - timedelta(seconds=10)
        Generation.objects.filter(pk=job).update(deadline_at=past)
        self.true.jobs[job].is_overdue = True

    def a_day_passes(self, job: str, ago: timedelta) -> None:
        true = self.true.jobs[job]
        if true.status not in FINAL or true.is_over:
            return
        times = ("created_at", "deadline_at", "ended_at")
        Generation.objects.filter(pk=job).update(**{name: F(name) - ago for name in times})
        Image.objects.filter(pk=job).update(expires_at=F("expires_at") - ago)
        true.is_over, true.is_purgeable = True, ago is PURGEABLE

    def reap(self) -> None:
        touched = 0
        for job in self.true.jobs.values():
            if job.status in {"queued", "running"} and job.is_overdue:
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

    # --- staff and owners -------------------------------------------------------------------------

    # One rule for many changes, since most steps should be about jobs.
    @rule(
        change=st.one_of(
            st.tuples(st.just("grant"), any_number, amounts, cuts),
            st.tuples(st.just("set_the_organizations_cap"), any_number, caps),
            st.tuples(st.just("set_the_organizations_places"), any_number, limits_in_flight),
            st.tuples(st.just("change_a_key"), any_number, caps, limits_in_flight),
            st.tuples(st.just("rotate_a_key"), any_number, overlaps),
            st.tuples(st.just("revoke_a_key"), any_number),
            st.tuples(st.just("set_a_price"), sizes, st.sampled_from([10_000, 15_000, 20_000])),
            st.tuples(st.just("subscription_turns"), any_number),
        )
    )
    def something_is_changed(self, change: tuple[Any, ...]) -> None:
        name, *arguments = change
        getattr(self, name)(*arguments)

    def grant(self, number: int, amount: int, cut: int | None) -> None:
        organization = self.organization(number)
        done, _ = self.attempt_at(
            lambda: ledger.grant(organization=organization, amount_micros=amount, reason="test"),
            cut,
            rolled_back=False,
        )
        if done:
            self.true.granted[organization.pk] += amount

    def set_the_organizations_cap(self, number: int, cap: int | None) -> None:
        organization = self.organization(number)
        budgets.set_cap(organization=organization, cap_micros=cap)
        self.true.organizations[organization.pk].cap = cap

    def set_the_organizations_places(self, number: int, limit: int | None) -> None:
        pk = self.organization(number).pk
        Organization.objects.filter(pk=pk).update(images_in_flight=limit)
        self.true.organizations[pk].in_flight = limit or settings.IMAGES_IN_FLIGHT

    def change_a_key(self, number: int, cap: int | None, limit: int | None) -> None:
        key = self.key(number)
        row = ApiKey.objects.get(pk=key.pk)
        try:
            keys.change(
                key=row,
                name="Changed",
                expires_at=row.expires_at,
                monthly_cap_micros=cap,
                images_in_flight=limit,
            )
        except keys.KeyIsOver:
            return
        seen["key changed"] += 1
        self.true.lines[key.line] = Owner(cap, limit)

    def rotate_a_key(self, number: int, overlap: timedelta) -> None:
        """The new key spends from the same budget as the old one."""
        old = self.key(number)
        try:
            row, secret = keys.rotate(
                key=ApiKey.objects.get(pk=old.pk), overlap=overlap, created_by=None
            )
        except keys.KeyIsOver:
            return
        seen["rotated"] += 1
        if not overlap:
            self.key_dies(old)
        self.true.keys.append(Key(row.pk, secret, old.organization, old.line))

    def revoke_a_key(self, number: int) -> None:
        """Only every other one, or soon nobody could call."""
        key = self.key(2 * number + 1)
        keys.revoke(ApiKey.objects.get(pk=key.pk))
        self.key_dies(key)

    def key_dies(self, key: Key) -> None:
        """From this moment on its secret opens nothing."""
        key.dead = True
        assert keys.find(key.secret) is None
        seen["dead key"] += 1

    def set_a_price(self, size: str, amount: int) -> None:
        """What is held already keeps its price."""
        pricing.set_price(model=FLUX_SCHNELL.id, size=size, amount_micros=amount)
        self.prices[size] = amount

    def subscription_begins(self, number: int) -> None:
        """As a look at Stripe writes it down: the prices of this moment are confirmed."""
        organization = self.organization(number)
        row = subscriptions.of(organization)
        row.customer_id, row.subscription_id = f"cus_{row.pk}", f"sub_{row.pk}"
        row.status = "active"
        row.save()
        for size in SIZES:
            price = pricing.price_of(model=FLUX_SCHNELL.id, size=size)
            row.items.get_or_create(
                price=price, defaults={"item_id": f"si_{row.pk}_{size}_{price.version}"}
            )
        self.true.subscribed[row.pk] = dict(self.prices)
        seen["subscribed"] += 1

    def subscription_ends(self, number: int) -> None:
        """What is in work is still charged to it."""
        pk = self.organization(number).pk
        Subscription.objects.filter(pk=pk).exclude(status="none").update(status="canceled")
        self.true.subscribed.pop(pk, None)

    def subscription_turns(self, number: int) -> None:
        """From none or a canceled one to a live one, or back."""
        if self.organization(number).pk in self.true.subscribed:
            self.subscription_ends(number)
        else:
            self.subscription_begins(number)

    def seal(self) -> None:
        """I5: twice, and from now on each image stays where it is."""
        seen["sealed"] += metering.seal()
        assert metering.seal() == 0
        assert not metering.open_use().exists()

    # --- what must always be true -----------------------------------------------------------------

    @invariant()
    def the_books_check_themselves(self) -> None:
        """Asked again only when a row has changed: the answer takes longer than most steps."""
        rows = [table_of(model) for model in TABLES]
        if rows != self.rows:
            self.rows = rows
            assert list(reconcile.differences()) == []

    @invariant()
    def every_job_is_where_it_must_be(self) -> None:
        """I1, I2, I7, I8: its state, its money, its picture, and the key that names it."""
        found = Generation.objects.values_list(
            "pk", "status", "attempt", "idempotency_key", "hold__state", "image__pk"
        )
        expected = {
            (
                pk,
                job.status,
                job.attempt,
                job.idempotency_key,
                job.money,
                pk if job.status == "succeeded" else None,
            )
            for pk, job in self.true.jobs.items()
        }
        assert set(found) == expected
        assert Hold.objects.count() == len(expected)
        assert max(self.true.captures.values(), default=0) <= 1
        for pk, status, attempt, _key, money, image in found:
            if status in FINAL:
                final = (status, attempt, money, image)
                assert self.finals.setdefault(pk, final) == final
            if status == "succeeded" and not self.true.jobs[pk].is_purged:
                assert storage.pictures().exists(storage.key_of(pk, attempt))

    @invariant()
    def every_sum_is_what_its_jobs_add_up_to(self) -> None:
        """I3, of credits and of budgets; no budget of a month holds more than a cap allowed in it."""
        for credit in Credit.objects.all():
            jobs = self.true.on_credit(credit.organization_id)
            assert credit.granted_micros == self.true.granted[credit.organization_id]
            assert credit.pending_micros == spent(jobs, money="pending")
            assert credit.posted_micros == spent(jobs, money="captured")
            assert credit.pending_micros + credit.posted_micros <= credit.granted_micros
        rows = {(row.organization_id, row.api_key_id): row for row in Budget.objects.all()}
        for (organization, line), row in rows.items():
            jobs = self.true.of(organization=organization, line=line)
            assert row.in_flight == in_flight(jobs)
            assert row.pending_micros == spent(jobs, row.month, "pending")
            assert row.posted_micros == spent(jobs, row.month, "captured")
        for organization, month in {(job.organization, job.month) for job in self.true.of()}:
            captured = spent(self.true.of(organization=organization), month, "captured")
            assert captured <= self.true.highest_cap[organization, month]

    @invariant()
    def the_ledger_only_grows(self) -> None:
        """I4 and I5: each capture is booked once, and its payer is named."""
        rows = list(LedgerEntry.objects.order_by("pk").values_list())
        assert rows[: len(self.ledger)] == self.ledger
        self.ledger = rows
        booked = LedgerEntry.objects.filter(kind="capture").values_list(
            "hold__generation", "amount_micros", "organization", "hold__payer", "debit"
        )
        captured = [
            (pk, job.price, job.organization, job.payer, PAID_FROM[job.payer])
            for pk, job in self.true.jobs.items()
            if job.money == "captured"
        ]
        assert Counter(booked) == Counter(captured)

    @invariant()
    def a_sealed_batch_never_changes(self) -> None:
        """I5: nor does an image leave its batch."""
        holds = Hold.objects.filter(usage_batch__isnull=False)
        now = dict(holds.values_list("pk", "usage_batch"))
        assert self.reported.items() <= now.items()
        self.reported = now
        batches = dict(UsageBatch.objects.values_list("pk", "quantity"))
        assert self.batches.items() <= batches.items()
        self.batches = batches
        assert Counter(now.values()) == Counter(batches)


def test_the_books_are_right_whatever_happens(db: None) -> None:
    run_state_machine_as_test(Play)
    assert [what for what in MUST_BE_SEEN if not seen[what]] == []
