"""Each subscription that may still change is read once a day, whatever webhooks have told."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import tasks
from billing.models import Notice, Subscription
from billing.subscriptions import syncing
from tests.cast import Person
from tests.payment import make_subscriber
from tests.stripe_sandbox import StripeSandbox

LIST = "^/v1/subscriptions$"


def status_of(person: Person) -> str:
    return Subscription.objects.get(pk=person.organization.pk).status


@pytest.fixture
def two(subscriber: Person, stripe_here: StripeSandbox) -> tuple[Person, Person]:
    """Two whose subscriptions have ended at Stripe, and no webhook has told so."""
    other = make_subscriber("Tom", stripe_here)
    for row in Subscription.objects.all():
        stripe_here.client().v1.subscriptions.cancel(str(row.subscription_id))
    return subscriber, other


def last_read(person: Person, days: float) -> None:
    Subscription.objects.filter(pk=person.organization.pk).update(
        synced_at=timezone.now() - timedelta(days=days)
    )


def test_one_that_ended_unheard_is_noticed_within_a_day(two: tuple[Person, Person]) -> None:
    last_read(two[0], 1.1)
    tasks.look_at_subscriptions()
    assert (status_of(two[0]), status_of(two[1])) == ("canceled", "active")


def test_one_that_cannot_be_read_holds_up_nobody(
    two: tuple[Person, Person], stripe_here: StripeSandbox
) -> None:
    for person in two:
        last_read(person, 2)
    stripe_here.fault("400", path=LIST, method="GET", times=1)
    syncing.look_at_subscriptions()
    assert sorted(map(status_of, two)) == ["active", "canceled"]
    assert Notice.objects.get(organization=None).kind == "not_done"
    syncing.look_at_subscriptions()
    assert [status_of(person) for person in two] == ["canceled", "canceled"]


def test_one_that_was_not_answered_for_days_is_told(
    two: tuple[Person, Person], stripe_here: StripeSandbox, one_try: None
) -> None:
    stripe_here.fault("500_unstored", path=LIST, method="GET")
    last_read(two[0], 2)
    syncing.look_at_subscriptions()
    assert not Notice.objects.filter(organization=None).exists()
    last_read(two[0], 4)
    syncing.look_at_subscriptions()
    assert "for days" in Notice.objects.get(organization=None).facts["what"]


def test_one_that_has_ended_for_good_is_not_asked_for(
    two: tuple[Person, Person], stripe_here: StripeSandbox
) -> None:
    last_read(two[0], 2)
    syncing.look_at_subscriptions()
    last_read(two[0], 2)
    before = stripe_here.requests()["requests"]
    syncing.look_at_subscriptions()
    assert stripe_here.requests()["requests"] == before
