"""The books against Stripe's: what is found, and what `--fix` does."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from billing import tasks
from billing.invoicing import comparing
from billing.models import Invoice, Notice, Subscription, UsageBatch
from billing.reporting import batching, sending
from ecohash import reconcile
from ecohash.tasks import check_books
from images.queue import signals
from tests.cast import Person
from tests.payment import (
    await_event,
    bill,
    buy,
    deliver,
    end_period,
    report,
    seal_all,
)
from tests.stripe_sandbox import StripeSandbox

EVENTS = "/v1/billing/meter_events$"


def found() -> list[str]:
    """What differs."""
    return list(comparing.compare())


def row_of(person: Person) -> Subscription:
    return Subscription.objects.get(pk=person.organization.pk)


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


def test_what_a_meter_has_lost_is_no_difference_and_is_billed(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, images=60)
    stripe_here.fault("late_rejection", path=EVENTS, method="POST", times=1, code="no_meter")
    report()
    await_event(stripe_here, "v1.billing.meter.error_report_triggered")
    assert found() == []
    end_period(stripe_here, row_of(subscriber))
    assert found() == []
    assert Invoice.objects.get(kind="period", total_cents=60).status == "paid"


def test_a_batch_that_waits_is_found(
    subscriber: Person, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    buy(subscriber, images=4)
    seal_all()
    monkeypatch.setattr(sending, "UNSENT_ALARM", timedelta(0))
    [line] = found()
    assert "waits since" in line


def test_an_invoice_that_we_have_never_seen_is_read(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    """No webhook told of it, and it became final."""
    buy(subscriber, images=60)
    report()
    stripe_here.finalize(stripe_here.end_period(str(row_of(subscriber).subscription_id))["id"])
    assert found() == []
    assert Invoice.objects.get(total_cents=60).lines.get().quantity == 60
    assert row_of(subscriber).invoices_read_at


def test_a_total_that_is_not_ours_is_found(subscriber: Person, stripe_here: StripeSandbox) -> None:
    buy(subscriber, images=60)
    end_period(stripe_here, row_of(subscriber))
    Invoice.objects.filter(total_cents=60).update(total_cents=61)
    [line] = found()
    assert "Stripe's total is $0.60, ours $0.61" in line


def test_a_draft_that_is_stuck_is_found(subscriber: Person, stripe_here: StripeSandbox) -> None:
    report()
    stripe_here.end_period(str(row_of(subscriber).subscription_id))
    deliver(stripe_here)
    Invoice.objects.filter(done_at=None).update(
        finalizes_at=timezone.now() - timedelta(hours=3), tries=9
    )
    [line] = found()
    assert "is not settled" in line


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
    assert "Stripe could not be asked" in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_the_command_settles_what_is_due(
    subscriber: Person, stripe_here: StripeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    buy(subscriber, images=60)
    report()
    stripe_here.end_period(str(row_of(subscriber).subscription_id))
    call_command("reconcile", "--fix")
    assert Invoice.objects.filter(done_at=None, held=True).count() == 1
    earlier = timezone.now() - timedelta(hours=2)
    Invoice.objects.filter(done_at=None).update(
        created_at=earlier, finalizes_at=earlier, not_before=earlier
    )
    call_command("reconcile", "--fix")
    call_command("reconcile")
    out = capsys.readouterr().out
    assert "is settled" in out
    assert "The books are right." in out


def test_once_a_day_staff_get_what_differs(
    subscriber: Person, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    buy(subscriber, images=4)
    seal_all()
    monkeypatch.setattr(sending, "UNSENT_ALARM", timedelta(0))
    for _ in range(2):
        tasks.compare(subscriber.organization.pk)
    notice = Notice.objects.get(kind="books_differ")
    assert notice.facts["count"] == 1
    assert "waits since" in notice.facts["lines"][0]


def test_one_organizations_differences_are_not_anothers(
    subscriber: Person,
    alice: Person,
    stripe_here: StripeSandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buy(subscriber)
    seal_all()
    monkeypatch.setattr(sending, "UNSENT_ALARM", timedelta(0))
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
