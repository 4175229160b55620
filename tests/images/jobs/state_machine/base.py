"""What each part of a play stands on: the people and keys, the two accounts, the month, the power cut."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine

from accounts.keys import keys
from accounts.models import Organization
from billing.ledger import budgets
from billing.models import Budget
from images.queue import estimates, signals
from tests.cast import make_owner
from tests.images.jobs.state_machine.model import Account, Key, Owner

CREDITS = {"Alice": 400_000, "Charlie": 50_000, "Pauper": 0}
SIZES = {"512x512": 10_000, "1024x768": 18_000, "1024x1024": 20_000}
FINAL = {"succeeded", "failed", "canceled", "expired"}

# What happened in all plays together: a test in which nothing happens proves nothing.
seen: Counter[str] = Counter()

jobs = Bundle("jobs")
claims = Bundle("claims")
# Mostly none; a verb has fewer statements than the largest.
cuts = st.sampled_from([None] * 12 + list(range(16)))
mostly_not = st.sampled_from([False] * 4 + [True])
sizes = st.sampled_from(list(SIZES))
caps = st.sampled_from([None, None, None, 0, 19_999, 30_000, 58_000, 100_000])
limits_in_flight = st.sampled_from([None, None, 1, 3, 4])
# Of six keys, two for each organization, and of those that replace them; the pauper calls seldom.
any_number = st.sampled_from([0, 0, 1, 1, 2, 2, 3, 4, 6, 6, 7])


class PowerCut(Exception):
    """Whatever ran stops here. No kind that our code knows."""


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


class BaseMachine(RuleBasedStateMachine):
    """One transaction, rolled back in the end, and three organizations in it."""

    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        signals.client().flushall()
        estimates.clear_forecasts()
        self.true = Account(month=date(2026, 3, 1))
        self.prices = dict(SIZES)
        self.clock_lags = False
        self.rows: list[Any] = []
        self.changes = 0
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
