"""Reporting use to Stripe, with every answer that it may give: each image is counted once."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from billing import outbox
from billing.models import (
    Hold,
    Notice,
    SendingPause,
    Subscription,
    UsageAttempt,
    UsageBatch,
)
from billing.reporting import batching, confirming, sending
from billing.subscriptions import syncing
from tests.cast import Person
from tests.payment import (
    at_stripe,
    await_event,
    await_next_second,
    buy,
    deliver,
    due_now,
    make_subscriber,
    report,
    seal_all,
)
from tests.stripe_sandbox import StripeSandbox

EVENTS = "/v1/billing/meter_events$"
LATE_ERRORS = "v1.billing.meter.error_report_triggered"


def states() -> list[str]:
    return sorted(UsageBatch.objects.values_list("state", flat=True))


def told() -> list[str]:
    rows = Notice.objects.filter(organization=None)
    return sorted(rows.values_list("kind", flat=True))


def send_until_quiet(tries: int = 20) -> None:
    """Every wait is over at once."""
    for _ in range(tries):
        due_now()
        sending.send_due()
        if not UsageBatch.objects.unsent().exists():
            return
    raise AssertionError(f"still unsent: {states()}")


@pytest.fixture
def used(subscriber: Person) -> Person:
    """Three images that are sealed and not yet sent."""
    buy(subscriber, images=3)
    batching.seal()
    return subscriber


def test_an_image_is_in_one_batch_however_often_is_sealed(subscriber: Person) -> None:
    buy(subscriber, "512x512", 2)
    buy(subscriber, "1024x1024", 3)
    assert batching.seal() == 2
    assert batching.seal() == 0
    assert [batch.quantity for batch in seal_all()] == [3, 2]
    assert not batching.open_use().exists()


def test_what_credit_paid_is_never_reported(alice: Person) -> None:
    buy(alice, images=2)
    assert batching.seal() == 0


def test_a_batch_never_straddles_a_billing_period(subscriber: Person) -> None:
    row = syncing.get_or_create(subscriber.organization)
    before = row.period_start - timedelta(seconds=5)
    after = row.period_end + timedelta(seconds=5)
    for moment in (before, None, after):
        buy(subscriber, images=2, at=moment)
    assert batching.seal() == 3
    for batch in UsageBatch.objects.all():
        sides = {
            (at < row.period_start, at < row.period_end)
            for at in (batch.first_captured_at, batch.last_captured_at)
        }
        assert len(sides) == 1


def test_a_large_crowd_of_images_is_several_batches(
    subscriber: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "LARGEST", 2)
    buy(subscriber, images=5)
    assert batching.seal() == 3


def test_an_image_cannot_be_in_a_batch_before_it_is_captured(
    subscriber: Person, alice: Person
) -> None:
    buy(subscriber)
    [batch] = seal_all()
    [of_credit] = buy(alice)
    with pytest.raises(IntegrityError), transaction.atomic():
        Hold.objects.filter(pk=of_credit.pk).update(usage_batch=batch)


def test_sent_and_confirmed(used: Person, stripe_here: StripeSandbox) -> None:
    assert sending.send_due() == 1
    assert states() == ["accepted"]
    assert confirming.confirm() == 1
    assert states() == ["confirmed"]
    assert at_stripe(stripe_here, used) == {"512x512": 3}
    [attempt] = UsageAttempt.objects.all()
    batch = UsageBatch.objects.get()
    assert attempt.idempotency_key == f"eco:development:{batch.pk}:1"
    assert attempt.outcome == "accepted"


@pytest.mark.parametrize(
    ("fault", "keys"),
    [
        ("500", 2),  # stored under the key: only another key gets through
        ("500_unstored", 2),
        ("429", 1),
        ("409", 1),
        ("drop_before", 1),
        ("accept_then_drop", 1),
    ],
)
def test_after_a_fault_it_is_sent_again_and_counted_once(
    used: Person, stripe_here: StripeSandbox, fault: str, keys: int
) -> None:
    stripe_here.fault(fault, path=EVENTS, method="POST", times=1)
    assert sending.send_due() == 0
    assert states() == ["sealed"]
    assert UsageBatch.objects.get().not_before > timezone.now()
    assert sending.send_due() == 0
    send_until_quiet()
    assert states() == ["accepted"]
    assert at_stripe(stripe_here, used) == {"512x512": 3}
    assert len(set(UsageAttempt.objects.values_list("idempotency_key", flat=True))) == keys
    assert told() == []


def test_a_storm_of_429_ends_with_one_event(used: Person, stripe_here: StripeSandbox) -> None:
    stripe_here.fault("429", path=EVENTS, method="POST", times=8)
    send_until_quiet()
    assert at_stripe(stripe_here, used) == {"512x512": 3}
    assert UsageAttempt.objects.count() == 9


def test_waits_grow_and_differ() -> None:
    now = timezone.now()
    waits = [(outbox.later(tries) - now).total_seconds() for tries in range(1, 12)]
    assert waits[0] < 3
    assert 150 <= waits[-1] <= 301
    assert len({round((outbox.later(5) - now).total_seconds(), 3) for _ in range(20)}) > 10


def test_a_sender_that_died_is_taken_over_and_nothing_counts_twice(
    used: Person, stripe_here: StripeSandbox
) -> None:
    """It died after Stripe had taken the event, and before that was written down."""
    stripe_here.fault("accept_then_drop", path=EVENTS, method="POST", times=1)
    sending.send_due()
    UsageBatch.objects.update(state="sending", claimed_until=timezone.now() + UsageBatch.LEASE)
    due_now()
    assert sending.send_due() == 0
    UsageBatch.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert sending.send_due() == 1
    assert at_stripe(stripe_here, used) == {"512x512": 3}


def test_an_identifier_that_exists_is_accepted_only_after_an_earlier_attempt(
    used: Person, stripe_here: StripeSandbox
) -> None:
    batch = UsageBatch.objects.get()
    row = Subscription.objects.get()
    stripe_here.client().v1.billing.meter_events.create(
        {
            "event_name": batch.price.metered.event_name,
            "payload": {"stripe_customer_id": str(row.customer_id), "value": "3"},
            "identifier": batch.identifier,
        }
    )
    sending.send_due()
    assert states() == ["rejected"]
    assert told() == ["usage_rejected"]


def test_it_is_accepted_where_a_lost_attempt_came_before(
    used: Person, stripe_here: StripeSandbox
) -> None:
    stripe_here.fault("accept_then_drop", path=EVENTS, method="POST", times=1)
    sending.send_due()
    # Another key, as after a 5xx: Stripe refuses the identifier.
    UsageBatch.objects.update(key_number=2)
    send_until_quiet()
    assert states() == ["accepted"]
    assert UsageAttempt.objects.last().outcome == "duplicate"
    assert at_stripe(stripe_here, used) == {"512x512": 3}
    assert told() == []


@pytest.mark.parametrize("code", ["parameter_invalid", "resource_missing"])
def test_what_stripe_refuses_is_kept_and_staff_are_told(
    used: Person, stripe_here: StripeSandbox, code: str
) -> None:
    stripe_here.fault("400", path=EVENTS, method="POST", times=1, code=code)
    sending.send_due()
    assert states() == ["rejected"]
    assert told() == ["usage_rejected"]
    due_now()
    assert sending.send_due() == 0


@pytest.mark.parametrize("fault", ["401", "403"])
def test_a_refused_key_pauses_all_sending_until_there_is_another(
    used: Person, stripe_here: StripeSandbox, fault: str, settings: Any
) -> None:
    stripe_here.fault(fault, path=EVENTS, method="POST", times=1)
    buy(used, "1024x1024")
    batching.seal()
    sending.send_due()
    assert UsageAttempt.objects.count() == 1
    assert told() == ["sending_paused"]
    assert settings.STRIPE_SECRET_KEY not in str(list(SendingPause.objects.values()))
    due_now()
    assert sending.send_due() == 0
    assert UsageAttempt.objects.count() == 1
    SendingPause.objects.update(key_digest="of another key")
    assert not sending.is_paused()
    assert SendingPause.objects.exists()
    send_until_quiet()
    assert not SendingPause.objects.exists()
    assert at_stripe(stripe_here, used) == {"512x512": 3, "1024x1024": 1}


def test_staff_can_resume_by_hand(used: Person, stripe_here: StripeSandbox) -> None:
    sending.pause("401")
    assert sending.send_due() == 0
    assert sending.resume()
    assert not sending.resume()
    assert sending.send_due() == 1


def test_after_23_hours_it_is_not_repeated_blindly(
    used: Person, stripe_here: StripeSandbox
) -> None:
    stripe_here.fault("accept_then_drop", path=EVENTS, method="POST", times=1)
    sending.send_due()
    UsageBatch.objects.update(first_tried_at=timezone.now() - timedelta(hours=23, minutes=1))
    due_now()
    assert sending.send_due() == 0
    assert states() == ["unknown"]
    assert told() == ["usage_unknown"]
    assert at_stripe(stripe_here, used) == {"512x512": 3}


def test_while_stripe_is_away_customers_are_served_and_staff_hear_of_it(
    used: Person,
    stripe_here: StripeSandbox,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    sending.send_due()
    buy(used)
    assert told() == []
    monkeypatch.setattr(sending, "UNSENT_ALARM", timedelta(0))
    sending.send_due()
    assert told() == ["usage_unsent"]
    settings.STRIPE_API_BASE = stripe_here.base_url
    report()
    send_until_quiet()
    assert at_stripe(stripe_here, used) == {"512x512": 4}


def test_one_is_in_flight_for_each_customer_and_meter(subscriber: Person) -> None:
    buy(subscriber)
    batching.seal()
    buy(subscriber)
    first, second = seal_all()
    row = Subscription.objects.get()
    assert sending._claim(first, str(row.customer_id))
    assert not list(sending.due())
    assert sending._claim(second, str(row.customer_id)) is None


def test_two_customers_do_not_wait_for_each_other(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    tom = make_subscriber("Tom", stripe_here)
    buy(subscriber)
    buy(tom)
    batches = seal_all()
    assert sending._claim(batches[0], batches[0].organization.subscription.customer_id)
    assert list(sending.due()) == [batches[1]]


def test_the_draft_of_an_ended_period_takes_its_last_use_in(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    row = Subscription.objects.get()
    buy(subscriber, images=2, at=row.period_start)
    await_next_second()
    invoice = stripe_here.end_period(row.subscription_id)["id"]
    deliver(stripe_here)
    assert states() == ["accepted"]
    stripe_here.finalize(invoice)
    assert billed(stripe_here, invoice) == 2


def billed(sandbox: StripeSandbox, invoice: str) -> int:
    lines = sandbox.client().v1.invoices.line_items.list(invoice).data
    return sum(line.quantity or 0 for line in lines)


def test_use_of_a_subscription_that_has_ended_is_left_to_an_invoice(
    used: Person, stripe_here: StripeSandbox
) -> None:
    row = Subscription.objects.get()
    stripe_here.client().v1.subscriptions.cancel(row.subscription_id, {"invoice_now": True})
    syncing.sync(row)
    send_until_quiet()
    assert states() == ["unmetered"]
    assert at_stripe(stripe_here, used) == {}


def test_late_rejections_are_found_by_their_idempotency_key(
    used: Person, stripe_here: StripeSandbox
) -> None:
    stripe_here.fault(
        "late_rejection", path=EVENTS, method="POST", times=1, code="meter_event_invalid_value"
    )
    sending.send_due()
    assert confirming.confirm() == 0
    assert states() == ["accepted"]
    await_event(stripe_here, LATE_ERRORS)
    assert states() == ["rejected"]
    assert told() == ["usage_rejected"]


def test_a_late_rejection_that_no_sample_names_is_told_too(
    used: Person, stripe_here: StripeSandbox
) -> None:
    stripe_here.fault(
        "late_rejection", path=EVENTS, method="POST", times=1, code="meter_event_invalid_value"
    )
    sending.send_due()
    UsageAttempt.objects.update(idempotency_key="lost")
    await_event(stripe_here, LATE_ERRORS)
    assert told() == ["usage_errors"]
    UsageBatch.objects.update(done_at=timezone.now() - timedelta(hours=7))
    assert confirming.confirm() == 0
    assert told() == ["usage_errors", "usage_unproven"]


def test_nothing_is_confirmed_while_something_is_under_way(
    used: Person, stripe_here: StripeSandbox
) -> None:
    sending.send_due()
    buy(used)
    batch = seal_all()[-1]
    assert sending._claim(batch, batch.organization.subscription.customer_id)
    assert confirming.confirm() == 0
