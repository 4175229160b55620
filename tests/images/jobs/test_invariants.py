"""Whatever happens to jobs and in whatever order, the books are right after each step of it.

Hypothesis plays callers, workers, staff, clocks and power cuts against the real verbs. Beside the
database a second account of what must be true (`state_machine.model`) is kept in plain Python, and both are compared after
every step. `HYPOTHESIS_PROFILE=thorough` plays for about an hour.

Each play is one transaction that is rolled back in the end, so that a verb's own transactions are
savepoints here. That hides what takes two connections or a real COMMIT: races, locks, a COMMIT without
an answer, hooks on commit. Foreign keys, which a COMMIT would check, are checked at the end of a play.
"""

import random

from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.images.jobs.state_machine.base import seen
from tests.images.jobs.state_machine.callers import Callers
from tests.images.jobs.state_machine.invariants import Invariants
from tests.images.jobs.state_machine.workers import Workers

MUST_BE_SEEN = (
    *("admitted", "shared by key", "key reused", "dead key", "rotated", "power cut"),
    *("NoSubscription", "SpendLimitReached", "TooManyInFlight", "SubscriptionEnded"),
    *("paid by credit", "paid by subscription", "subscribed", "sealed"),
    *("captured", "delivered False", "cancel True", "expire True", "reaped overdue", "purged"),
    *("handed back and queued", "lease lost and queued", "lease lost and failed"),
    *("expire False", "lease lost and expired", "handed back and expired"),
)

# Of the plays after the tenth of a run hypothesis makes five in six of parts of those before.
PLAYS_OF_A_ROUND = 10


class Play(Callers, Workers, Invariants):
    """One sequence of events."""


def test_the_books_are_right_whatever_happens(db: None) -> None:
    profile = settings()
    first = 0 if profile.derandomize else random.randrange(2**32)
    for number in range(profile.max_examples // PLAYS_OF_A_ROUND):
        a_round = seed(first + number)(type("Play", (Play,), {}))
        run_state_machine_as_test(a_round, settings=settings(max_examples=PLAYS_OF_A_ROUND))
    assert [what for what in MUST_BE_SEEN if not seen[what]] == []
