"""Random histories of equal calls: however answers are lost, seen or not, there are never more charges than calls."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import transaction

from images.catalog import FLUX_SCHNELL
from images.jobs import generation, idempotency, leases
from images.jobs.admission import Admitted
from images.jobs.generation_request import IdempotentCall
from images.models import Generation
from tests.calls import BODY
from tests.cast import Person
from tests.images import make

HISTORIES = 36
STEPS_OF_A_CALL = 12
MOST_RETRIES = 4


@dataclass
class Caller:
    """One call of a program, with the automatic retries of its client."""

    sent: int = 0
    arrived: bool = False
    waits_for: Admitted | None = None
    has_image: bool = False


@dataclass
class History:
    """Some equal calls at once, a worker, and connections that break."""

    person: Person
    chance: random.Random
    callers: list[Caller]
    # Jobs fail, and callers leave.
    is_eventful: bool
    # Of calls that have gone: their connections still wait at a proxy.
    forgotten: list[Generation] = field(default_factory=list)

    def step(self) -> None:
        steps: list[Callable[[], None]] = [
            self.send,
            self.send,
            self.answer,
            self.answer,
            self.deliver,
        ]
        if self.is_eventful:
            steps += [self.deliver, self.fail, self.leave, self.forgotten_answer_breaks_off]
        self.chance.choice(steps)()

    def one(self, *, waiting: bool) -> Caller | None:
        found = [
            caller
            for caller in self.callers
            if not caller.has_image and bool(caller.waits_for) is waiting
        ]
        return self.chance.choice(found) if found else None

    def send(self) -> None:
        """The first try, or the next retry; some do not arrive, and some are refused with what they took."""
        caller = self.one(waiting=False)
        if caller is None or caller.sent > MOST_RETRIES:
            return
        count, caller.sent = caller.sent, caller.sent + 1
        if self.chance.random() < 0.15:
            return
        caller.arrived = True
        admitted = make.requested(
            organization=self.person.organization,
            api_key=self.person.key,
            call=IdempotentCall(idempotency.digest(BODY), None, count),
            request_id="req_test",
            **BODY,
        )
        if admitted.shared and self.chance.random() < 0.15:
            idempotency.note_lost_answer(admitted.job)
            return
        caller.waits_for = admitted

    def answer(self) -> None:
        caller = self.one(waiting=True)
        if caller is None or caller.waits_for is None:
            return
        mine = caller.waits_for.job
        status = make.now(mine).status
        if status in Generation.UNFINISHED:
            return
        caller.waits_for = None
        how = self.chance.choice(["whole", "lost", "lost in a proxy", "lost in a proxy"])
        if status == "succeeded" and how == "whole":
            caller.has_image = True
        elif status == "succeeded" and how == "lost":
            idempotency.note_lost_answer(mine)

    def leave(self) -> None:
        """Its client has waited for long enough; a proxy may keep the connection."""
        caller = self.one(waiting=True)
        if caller is None or caller.waits_for is None:
            return
        mine, caller.waits_for = caller.waits_for.job, None
        if self.chance.random() < 0.5:
            self.forgotten.append(mine)
        elif not generation.cancel_abandoned(mine):
            idempotency.note_lost_answer(mine)

    def forgotten_answer_breaks_off(self) -> None:
        if self.forgotten:
            idempotency.note_lost_answer(self.forgotten.pop())

    def deliver(self) -> None:
        if job := leases.claim(model=self.model, worker="gpu-1"):
            assert leases.deliver(job, make.stored(job))

    def fail(self) -> None:
        if self.chance.random() < 0.3:
            for _ in range(2):
                if job := leases.claim(model=self.model, worker="gpu-1"):
                    leases.hand_back(job, "engine_failed")

    @property
    def model(self) -> Any:
        return FLUX_SCHNELL

    def check(self) -> None:
        free = {"canceled", "failed", "expired"}
        charged = Generation.objects.exclude(status__in=free).count()
        assert charged <= sum(caller.arrived for caller in self.callers)


@pytest.mark.parametrize("calls", [1, 2, 3, 5])
def test_there_are_never_more_charges_than_calls(alice: Person, settings: Any, calls: int) -> None:
    settings.REQUESTS_PER_MINUTE = settings.IMAGES_PER_MINUTE = 100_000
    delivered = repeated = 0
    for seed in range(HISTORIES // calls):
        callers = [Caller() for _ in range(calls)]
        history = History(alice, random.Random(seed), callers, is_eventful=seed % 3 == 0)
        with transaction.atomic():
            for _ in range(STEPS_OF_A_CALL * (calls + 1)):
                history.step()
                history.check()
            delivered += sum(caller.has_image for caller in history.callers)
            repeated += sum(caller.sent > 2 for caller in history.callers)
            transaction.set_rollback(True)
    assert delivered
    assert repeated
