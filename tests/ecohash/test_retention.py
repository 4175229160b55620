"""Rows of tables that only grow go after their days; what a promise needs stays."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone

from billing import webhook_events
from billing.gateway import webhooks
from billing.ledger import budgets
from billing.mails import notices
from billing.models import (
    Budget,
    CreationKey,
    Credit,
    Notice,
    SpendAlert,
    Subscription,
    UsageAttempt,
    UsageBatch,
    WebhookEvent,
)
from ecohash import reconcile, tasks
from ecohash.background import beat_schedule
from ecohash.configuration import environment, retention
from ecohash.retention import removal
from images.models import Generation
from tests import servers
from tests.cast import Person
from tests.images import make
from tests.payment import buy, report
from tests.stripe_sandbox import StripeSandbox


def days_ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def event(name: str, days: float, *, done: bool = True) -> WebhookEvent:
    then = days_ago(days)
    return WebhookEvent.objects.create(
        event_id=name,
        type="invoice.paid",
        created_at=then,
        received_at=then,
        done_at=then if done else None,
    )


def names_of_events() -> set[str]:
    return set(WebhookEvent.objects.values_list("event_id", flat=True))


def test_processed_events_go_and_waiting_ones_stay(db: None) -> None:
    event("old", 91)
    event("young", 89)
    event("waiting", 400, done=False)
    tasks.remove_old()
    assert names_of_events() == {"young", "waiting"}


def test_an_event_that_stripe_sends_again_after_a_month_is_known(db: None) -> None:
    event("evt_1", 30)
    tasks.remove_old()
    again = webhooks.Event("evt_1", "invoice.paid", "in_1", timezone.now())
    webhook_events.receive(again)
    assert WebhookEvent.objects.get().done_at


def test_attempts_of_use_that_was_taken_go_and_the_batch_stays(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, images=2)
    report()
    UsageAttempt.objects.update(started_at=days_ago(91))
    UsageBatch.objects.update(state=UsageBatch.State.UNKNOWN)
    tasks.remove_old()
    assert UsageAttempt.objects.count() == 1
    UsageBatch.objects.update(state=UsageBatch.State.CONFIRMED)
    tasks.remove_old()
    assert UsageAttempt.objects.count() == 0
    assert UsageBatch.objects.get().quantity == 2
    assert list(reconcile.differences()) == []


def test_sent_mails_are_forgotten_and_unsent_ones_are_not(alice: Person) -> None:
    for subject, done in [("old", 366), ("young", 364), ("unsent", None)]:
        notices.note("payment_failed", organization=alice.organization, subject=subject)
        Notice.objects.filter(subject=subject).update(
            created_at=days_ago(500), done_at=days_ago(done) if done else None
        )
    tasks.remove_old()
    assert set(Notice.objects.values_list("subject", flat=True)) == {"young", "unsent"}


def test_the_end_of_a_trial_is_told_once_for_good(alice: Person) -> None:
    Credit.objects.update(granted_micros=1)
    notices.note_ended_trials()
    Notice.objects.update(done_at=days_ago(5_000))
    tasks.remove_old()
    notices.note_ended_trials()
    assert Notice.objects.filter(kind="trial_ended", done_at__isnull=False).count() == 1
    assert Notice.objects.count() == 1


def test_spend_alerts_of_this_month_stay(alice: Person, settings: Any) -> None:
    settings.KEPT_DAYS = settings.KEPT_DAYS | {"NOTICE_DAYS": 90}
    month = budgets.this_month()
    make.succeeded(alice)
    budget = Budget.objects.of_organization(alice.organization).get()
    long_ago = (month - timedelta(days=120)).replace(day=1)
    for each in (month, long_ago):
        SpendAlert.objects.create(
            budget=budget, month=each, percent=50, cap_micros=1, spent_micros=1
        )
    tasks.remove_old()
    assert [alert.month for alert in SpendAlert.objects.all()] == [month]


def test_the_log_of_the_admin_goes_after_two_years(alice: Person) -> None:
    kind = ContentType.objects.get_for_model(Subscription)
    for days in (731, 729):
        entry = LogEntry.objects.create(
            user=alice.user, content_type=kind, action_flag=2, object_repr=str(days)
        )
        LogEntry.objects.filter(pk=entry.pk).update(action_time=days_ago(days))
    tasks.remove_old()
    assert LogEntry.objects.get().object_repr == "729"


def test_keys_of_creations_are_kept_for_longer_than_stripe_knows_them(db: None) -> None:
    for days in (2, 31):
        CreationKey.objects.create(identity=f"customer:{days}", changed_at=days_ago(days))
    tasks.remove_old()
    assert CreationKey.objects.get().identity == "customer:2"


@pytest.mark.parametrize(("days", "left"), [(0, {"a red fox"}), (2, {""})])
def test_prompts_go_where_the_operator_says_so(
    alice: Person, settings: Any, days: int, left: set[str]
) -> None:
    settings.KEPT_DAYS = settings.KEPT_DAYS | {"PROMPT_DAYS": days}
    job = make.succeeded(alice)
    Generation.objects.update(prompt="a red fox", ended_at=days_ago(3))
    young = make.succeeded(alice)
    queued = make.queued(alice)
    tasks.remove_old()
    assert set(Generation.objects.filter(pk=job.pk).values_list("prompt", flat=True)) == left
    assert all(Generation.objects.get(pk=each.pk).prompt for each in (young, queued))


def test_with_zero_everything_stays(db: None, settings: Any) -> None:
    settings.KEPT_DAYS = dict.fromkeys(settings.KEPT_DAYS, 0)
    event("old", 5_000)
    tasks.remove_old()
    assert names_of_events() == {"old"}


def test_the_rest_of_very_many_is_left_to_the_next_message(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(removal, "AT_ONCE", 2)
    monkeypatch.setattr(tasks, "SHIFT_SECONDS", 0)
    monkeypatch.setattr(tasks.remove_old, "delay", lambda *rest: sent.append(rest))
    events = [event(f"evt_{n}", 100) for n in range(5)]
    tasks.remove_old()
    assert sent == [("webhook events", events[1].pk)]
    while sent:
        tasks.remove_old(*sent.pop())
    assert names_of_events() == set()


def test_it_is_done_each_day() -> None:
    entry = beat_schedule.schedule(seal_seconds=60)["remove what is old"]
    assert (entry["task"], entry["schedule"]) == (tasks.remove_old.name, 24 * 3600)


@pytest.mark.parametrize(("value", "wrong"), [("0", 0), ("30", 1), ("31", 0)])
def test_a_promise_cannot_be_configured_away(
    monkeypatch: pytest.MonkeyPatch, value: str, wrong: int
) -> None:
    monkeypatch.setenv("WEBHOOK_EVENT_DAYS", value)
    mistakes: list[str] = []
    monkeypatch.setattr(environment, "mistakes", mistakes)
    monkeypatch.setattr(retention, "mistakes", mistakes)
    assert retention.kept_days()["WEBHOOK_EVENT_DAYS"] == int(value)
    assert len(mistakes) == wrong


def test_each_table_has_a_verdict_in_the_operations_page() -> None:
    """A new model needs a line there, and a rule in ecohash/retention if it grows with use."""
    page = (servers.ROOT / "docs" / "operations.md").read_text()
    section = page.partition("## What is removed by itself")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z]+\.[A-Z]\w+)`", section))
    assert named == {model._meta.label for model in apps.get_models()}
    for rule in removal.RETENTIONS.values():
        assert f"{rule.days}" in section
