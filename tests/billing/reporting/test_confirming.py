"""Whether Stripe counts what it accepted: a lost event is told once and leaves all other days confirmed."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.models import Notice, Subscription, UsageBatch
from billing.reporting import confirming
from tests.cast import Person
from tests.payment import buy, make_subscriber, report
from tests.stripe_sandbox import StripeSandbox

EVENTS = "/v1/billing/meter_events$"
CODE = "meter_event_invalid_value"
SUMMARIES = "/event_summaries$"


@pytest.fixture
def three_days(subscriber: Person, stripe_here: StripeSandbox) -> Person:
    """Use of three days, of which Stripe has lost that of the second."""
    now = timezone.now()
    Subscription.objects.update(period_start=now - timedelta(days=10), invoiced_until=None)
    for days in (3, 2, 1):
        buy(subscriber, images=days, at=now - timedelta(days=days))
        if days == 2:
            stripe_here.fault("late_rejection", path=EVENTS, times=1, code=CODE)
        report()
    return subscriber


def states() -> dict[int, str]:
    return dict(UsageBatch.objects.values_list("quantity", "state"))


def test_a_lost_event_leaves_its_own_day_unconfirmed(three_days: Person) -> None:
    assert confirming.confirm() == 2
    assert states() == {3: "confirmed", 2: "accepted", 1: "confirmed"}
    assert not Notice.objects.exists()


def test_staff_are_told_once_and_the_window_is_left_after_a_day(
    three_days: Person, stripe_here: StripeSandbox
) -> None:
    confirming.confirm()
    UsageBatch.objects.update(done_at=timezone.now() - timedelta(hours=7))
    assert [confirming.confirm() for _ in range(2)] == [0, 0]
    told = Notice.objects.get(organization=None)
    assert told.kind == "usage_unproven"
    assert (told.facts["ours"], told.facts["at_stripe"]) == (2, 0)
    before = stripe_here.requests()["requests"]
    UsageBatch.objects.update(done_at=timezone.now() - timedelta(hours=25))
    assert confirming.confirm() == 0
    assert stripe_here.requests()["requests"] == before


@pytest.mark.parametrize("fault", ["400", "500_unstored"])
def test_one_that_fails_holds_up_nobody_else(
    subscriber: Person, stripe_here: StripeSandbox, one_try: None, fault: str
) -> None:
    for person in (subscriber, make_subscriber("Tom", stripe_here)):
        buy(person)
    report()
    stripe_here.fault(fault, path=SUMMARIES, method="GET", times=1)
    assert confirming.confirm() == 1
    told = list(Notice.objects.filter(organization=None).values_list("kind", flat=True))
    assert told == (["not_done"] if fault == "400" else [])
    assert confirming.confirm() == 1


def test_without_a_key_nothing_is_asked(three_days: Person, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    assert confirming.confirm() == 0
