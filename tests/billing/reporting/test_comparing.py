"""The books against Stripe's: what is found, what `--fix` mends, and what it leaves alone."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from billing import tasks
from billing.models import Notice, Subscription, UsageBatch
from billing.reporting import batching, comparing, sending
from ecohash import reconcile
from ecohash.tasks import check_books
from images.queue import signals
from tests.cast import Person
from tests.payment import (
    at_stripe,
    await_event,
    await_next_second,
    bill,
    buy,
    deliver,
    due_now,
    report,
    seal_all,
)
from tests.stripe_sandbox import StripeSandbox

EVENTS = "/v1/billing/meter_events$"
AT_ONCE = timedelta(0)


def found() -> list[str]:
    """What differs, without the patience for Stripe's lag."""
    return list(comparing.compare(lag=AT_ONCE))


def mended() -> list[str]:
    return list(comparing.repair(lag=AT_ONCE))


def event(sandbox: StripeSandbox, batch: UsageBatch, identifier: str, value: int) -> None:
    """One that we do not know of, in the minute of `batch`: Stripe adds up by the minute."""
    row = Subscription.objects.get(pk=batch.organization_id)
    sandbox.client().v1.billing.meter_events.create(
        {
            "event_name": batch.price.metered.event_name,
            "payload": {"stripe_customer_id": str(row.customer_id), "value": str(value)},
            "identifier": identifier,
            "timestamp": int(batch.last_captured_at.timestamp()),
        }
    )


def test_the_books_agree_from_the_image_to_the_invoice(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, "512x512", 3)
    buy(subscriber, "1024x768", 2)
    report()
    assert found() == []
    bill(stripe_here, Subscription.objects.get())
    deliver(stripe_here)
    buy(subscriber, "512x512", 1)
    report()
    bill(stripe_here, Subscription.objects.get())
    assert found() == []
    assert list(reconcile.differences()) == []


def test_an_image_that_waits_for_its_batch_is_found(subscriber: Person) -> None:
    buy(subscriber, at=timezone.now() - timedelta(minutes=11))
    [line] = list(reconcile.differences())
    assert line == f"I5 organization {subscriber.organization.pk}: 1 images are in no usage batch"


def test_a_batch_that_says_more_than_it_holds_is_found(subscriber: Person) -> None:
    buy(subscriber, images=2)
    [batch] = seal_all()
    if connection.vendor == "postgresql":
        # A trigger refuses it there; SQLite has one user, the application.
        with pytest.raises(IntegrityError, match="never changes"), transaction.atomic():
            UsageBatch.objects.update(quantity=3)
        return
    UsageBatch.objects.update(quantity=3)
    assert list(reconcile.differences()) == [f"I5 batch {batch.pk} says 3 images and holds 2"]


def test_what_stripe_threw_away_is_found_and_sent_again(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, images=4)
    stripe_here.fault("late_rejection", path=EVENTS, method="POST", times=1, code="no_meter")
    report()
    await_event(stripe_here, "v1.billing.meter.error_report_triggered")
    [line] = found()
    assert "is rejected: 4 images may be unbilled (accepted, then thrown away: no_meter)" in line
    [done] = mended()
    assert "4 images were missing at Stripe and are sent again" in done
    report()
    assert at_stripe(stripe_here, subscriber) == {"512x512": 4}
    assert found() == []
    assert mended() == []


def test_what_was_lost_without_a_word_is_sent_again_once_it_can_be_no_lag(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, images=4)
    stripe_here.fault("late_rejection", path=EVENTS, method="POST", times=1, code="no_meter")
    report()
    [line] = found()
    assert "meter counts 0 images" in line
    assert line.endswith("our accepted batches 4")
    assert mended() == []
    UsageBatch.objects.update(done_at=timezone.now() - timedelta(hours=24, minutes=1))
    assert len(mended()) == 1
    report()
    assert at_stripe(stripe_here, subscriber) == {"512x512": 4}
    assert found() == []


@pytest.mark.parametrize("arrived", [True, False])
def test_an_unknown_batch_is_decided_by_the_total(
    subscriber: Person, stripe_here: StripeSandbox, *, arrived: bool
) -> None:
    buy(subscriber, images=4)
    fault = "accept_then_drop" if arrived else "drop_before"
    stripe_here.fault(fault, path=EVENTS, method="POST", times=1)
    report()
    UsageBatch.objects.update(first_tried_at=timezone.now() - timedelta(hours=24))
    due_now()
    sending.send_due()
    assert [line for line in found() if "is unknown" in line]
    [done] = mended()
    assert ("were counted" in done) == arrived
    due_now()
    report()
    assert at_stripe(stripe_here, subscriber) == {"512x512": 4}
    assert found() == []


def test_what_was_counted_twice_after_a_restore_is_taken_back_once(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, images=5)
    [batch] = seal_all()
    event(stripe_here, batch, "eco:development:from-before-the-restore", 5)
    report()
    [line] = found()
    assert "meter counts 10 images" in line
    [done] = mended()
    assert "counted twice" in done
    assert at_stripe(stripe_here, subscriber) == {"512x512": 5}
    assert UsageBatch.objects.get().state == "voided"
    assert found() == []


def test_a_difference_that_leaves_a_choice_changes_nothing(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, images=5)
    [batch] = seal_all()
    event(stripe_here, batch, "eco:development:who-knows", 3)
    report()
    assert mended() == []
    assert at_stripe(stripe_here, subscriber) == {"512x512": 8}
    assert len(found()) == 1


def test_use_that_missed_its_invoice_is_found(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    """As if Stripe had written the invoice in the moment in which it took the event."""
    row = Subscription.objects.get()
    buy(subscriber, images=2, at=row.period_start)
    [batch] = seal_all()
    bill_without_use(stripe_here, row)
    UsageBatch.objects.update(
        state="accepted",
        tries=1,
        first_tried_at=timezone.now(),
        timestamp=batch.last_captured_at,
        customer_id=row.customer_id,
    )
    assert any("invoices bill 0 images" in line and "hold 2" in line for line in found())


def bill_without_use(sandbox: StripeSandbox, row: Subscription) -> None:
    await_next_second()
    sandbox.finalize(sandbox.end_period(str(row.subscription_id))["id"])


@pytest.mark.django_db(transaction=True)
def test_the_command_says_that_stripe_is_away(
    subscriber: Person,
    stripe_here: StripeSandbox,
    settings: Any,
    capsys: pytest.CaptureFixture[str],
    one_try: None,
) -> None:
    buy(subscriber)
    report()
    UsageBatch.objects.update(timestamp=timezone.now() - timedelta(hours=1))
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    with pytest.raises(SystemExit) as exit_:
        call_command("reconcile")
    assert exit_.value.code == 1
    assert "I6 Stripe could not be asked" in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_the_command_mends_and_then_finds_nothing(
    subscriber: Person, stripe_here: StripeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    buy(subscriber, images=2)
    call_command("reconcile", "--fix")
    report()
    assert at_stripe(stripe_here, subscriber) == {"512x512": 2}
    call_command("reconcile")
    assert "The books are right." in capsys.readouterr().out


def test_once_a_day_staff_get_what_differs(subscriber: Person, stripe_here: StripeSandbox) -> None:
    buy(subscriber, images=4)
    stripe_here.fault("400", path=EVENTS, method="POST", times=1)
    report()
    for _ in range(2):
        tasks.compare(subscriber.organization.pk)
    notice = Notice.objects.get(kind="books_differ")
    assert notice.facts["count"] == 1
    assert "is rejected: 4 images may be unbilled" in notice.facts["lines"][0]
    mended()
    Notice.objects.all().delete()
    report()
    tasks.compare(subscriber.organization.pk)
    assert not Notice.objects.exists()


def test_one_organizations_differences_are_not_anothers(
    subscriber: Person, alice: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber)
    stripe_here.fault("400", path=EVENTS, method="POST", times=1)
    report()
    assert len(list(comparing.compare(organization=subscriber.organization.pk))) == 1
    assert list(comparing.compare(organization=alice.organization.pk)) == []


@pytest.mark.django_db(transaction=True)
def test_the_daily_chore_asks_for_each_organization_by_itself(
    subscriber: Person, stripe_here: StripeSandbox, settings: Any
) -> None:
    buy(subscriber, "1024x1024")
    batching.seal()
    buy(subscriber, at=timezone.now() - timedelta(minutes=11))
    check_books()
    notice = Notice.objects.get(kind="books_differ")
    assert any("in no usage batch" in line for line in notice.facts["lines"])
    assert signals.client().llen("stripe") == 1
