"""What staff do about payment, through pages that say what will happen and ask why."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from accounts.models import Organization
from billing import refunds
from billing.admin.actions import ActionRefused, ActionsAdmin, AdminAction
from billing.admin.usage import TRY_NOW
from billing.models import (
    Credit,
    Invoice,
    LedgerEntry,
    Notice,
    Refund,
    SendingPause,
    Subscription,
    UsageBatch,
    WebhookEvent,
)
from billing.reporting import sending
from billing.subscriptions import freezing, syncing
from ecohash import reconcile
from images.models import Generation
from tests.cast import Person
from tests.images import make
from tests.pages.admin import ADMIN_ACTIONS, OURS, WHY, action_page, do, list_page, page_of, text
from tests.payment import buy, seal_all
from tests.stripe_sandbox import StripeSandbox

# --- images ---------------------------------------------------------------------------------------


def test_an_image_is_refunded_from_its_page(world: Generation, staff: Client) -> None:
    shown = staff.get(page_of(world)).content.decode()
    page = action_page(Generation, "refund", world)
    assert f'href="{page}"' in shown
    assert f"{world} of sue's organization: $0.010, paid by subscription" in text(staff.get(page))
    said = do(staff, "refund", world, reason=WHY)
    assert f"{world}: $0.010 given back, off the next invoice." in said
    assert f"$0.010, paid by subscription; given back: {WHY}" in said
    assert "act/refund" not in staff.get(page_of(world)).content.decode()
    refund = Refund.objects.get(entry__hold=world.hold)
    assert (refund.by, refund.entry.reason) == ("stella@example.com", WHY)
    history = text(staff.get(f"{page_of(world)[:-7]}history/"))
    assert f"Refund this image ({WHY}): {world}: $0.010 given back" in history
    assert list(reconcile.differences()) == []


def test_several_are_refunded_from_the_list_and_what_is_skipped_is_said(
    alice: Person, staff: Client
) -> None:
    before, good = (make.succeeded(alice) for _ in range(2))
    queued = make.queued(alice)
    refunds.refund_image(hold=before.hold, reason="Before", by="x@example.com")
    chosen = {"action": "refund", "_selected_action": [before.pk, good.pk, queued.pk]}
    answer = staff.post(list_page(Generation), chosen, follow=True)
    [(address, _)] = answer.redirect_chain
    page = text(answer)
    assert "Left out" in page
    assert f"{queued}: It was not charged." in page
    assert f"{before}: It was refunded before." in page
    said = text(staff.post(address, {"reason": WHY}, follow=True))
    assert f"{good}: $0.010 given back as credit." in said
    assert f"{queued}: It was not charged." in said
    assert LedgerEntry.objects.filter(kind="refund").count() == 2


def test_a_page_where_nothing_can_be_done_has_no_button(alice: Person, staff: Client) -> None:
    queued = make.queued(alice)
    page = action_page(Generation, "refund", queued)
    shown = staff.get(page)
    assert "This cannot be done" in text(shown)
    assert 'type="submit"' not in shown.content.decode().split('id="content"')[1]
    assert "It was not charged." in text(staff.post(page, {"reason": WHY}, follow=True))
    assert not Refund.objects.exists()


def test_a_refund_that_another_was_faster_with_is_said(
    world: Generation, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    page: Any = admin.site._registry[Generation]
    [action] = page.admin_actions
    late = AdminAction(**{**vars(action), "unavailable_because": lambda _row: ""})
    monkeypatch.setattr(page, "admin_actions", (late,))
    refunds.refund_image(hold=world.hold, reason="First", by="x@example.com")
    assert "This image was refunded before." in do(staff, "refund", world, reason=WHY)


def test_too_many_at_once_are_refused(
    alice: Person, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.admin.actions.MOST_ROWS", 1)
    chosen = [make.succeeded(alice).pk for _ in range(2)]
    asked = {"action": "refund", "_selected_action": chosen}
    assert "at most 1" in text(staff.post(list_page(Generation), asked, follow=True))


# --- organizations --------------------------------------------------------------------------------


def test_an_amount_is_refunded(world: Generation, subscriber: Person, staff: Client) -> None:
    page = action_page(Organization, "refund", subscriber.organization)
    assert "$0.010 of invoices and $0.00 of credit can be given back" in text(staff.get(page))
    for amount, words in (("", "Say how much."), ("0", "above zero"), ("x", "in dollars")):
        asked = {"amount_micros": amount, "reason": WHY}
        assert words in text(staff.post(page, asked))
    said = do(staff, "refund", subscriber.organization, amount_micros="9", reason=WHY)
    assert "at most $0.010" in said
    said = do(staff, "refund", subscriber.organization, amount_micros="$0.005", reason=WHY)
    assert "$0.005 given back to sue's organization, off the next invoice." in said
    said = do(staff, "refund", subscriber.organization, amount_micros="$0.005", reason=WHY)
    assert "a moment ago" in said
    assert Refund.objects.get(organization=subscriber.organization).by == "stella@example.com"


def test_credit_is_granted_once(alice: Person, staff: Client) -> None:
    before = Credit.objects.get(organization=alice.organization).granted_micros
    said = do(staff, "grant", alice.organization, amount_micros="1,000.50", reason=WHY)
    assert "$1,000.50 of credit given to alice's organization" in said
    said = do(staff, "grant", alice.organization, amount_micros="1000.50", reason=WHY)
    assert "a moment ago" in said
    credit = Credit.objects.get(organization=alice.organization)
    assert credit.granted_micros == before + 1_000_500_000
    assert LedgerEntry.objects.filter(reason=WHY).count() == 1
    assert list(reconcile.differences()) == []


def test_new_work_is_stopped_and_goes_on(alice: Person, staff: Client) -> None:
    row = syncing.get_or_create(alice.organization)
    assert "Let work go on" not in text(staff.get(page_of(alice.organization)))
    freezing.freeze(row, because="dispute dp_1")
    do(staff, "stop", alice.organization, reason=WHY)
    row.refresh_from_db()
    mine = f"by stella@example.com: {WHY}"
    assert row.frozen_because == ["dispute dp_1", mine]
    page = action_page(Organization, "go-on", alice.organization)
    assert mine in text(staff.get(page))
    assert "Choose at least one." in text(staff.post(page, {"reason": WHY}))
    said = do(staff, "go-on", alice.organization, gone=[mine], reason="Paid")
    assert "stays stopped" in said
    said = do(staff, "go-on", alice.organization, gone=["dispute dp_1"], reason="Won")
    assert "Work of alice's organization goes on." in said
    row.refresh_from_db()
    assert row.frozen_at is None
    assert "Let work go on (Won)" in text(staff.get(f"{page_of(alice.organization)[:-7]}history/"))


def test_a_reason_that_came_since_the_page_was_read_keeps_it_stopped(
    alice: Person, staff: Client
) -> None:
    row = syncing.get_or_create(alice.organization)
    freezing.freeze(row, because="fraud warning 1")
    page = action_page(Organization, "go-on", alice.organization)
    staff.get(page)
    freezing.freeze(row, because="dispute dp_1")
    staff.post(page, {"gone": ["fraud warning 1"], "reason": "Looked"})
    row.refresh_from_db()
    assert row.frozen_because == ["dispute dp_1"]


# --- what Stripe is told, and tells ---------------------------------------------------------------


def test_a_batch_that_waits_is_tried_now(world: Generation, staff: Client) -> None:
    batch = UsageBatch.objects.get()
    assert batch.not_before > timezone.now()
    assert "it is sent within seconds" in do(staff, "try-now", batch)
    sending.resume()
    assert sending.send_due() == 1


def test_only_a_batch_that_waits_is_tried_now(
    world: Generation, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    UsageBatch.objects.update(state="rejected")
    batch = UsageBatch.objects.get()
    shown = staff.get(page_of(batch)).content.decode()
    assert "act/try-now" not in shown
    assert "act/mend" in shown
    assert "Send again" not in shown
    said = do(staff, "try-now", batch)
    assert "Only a sealed batch" in said
    assert UsageBatch.objects.get().state == "rejected"


def test_a_batch_that_the_sender_has_just_taken_is_left_to_it(world: Generation) -> None:
    batch = UsageBatch.objects.get()
    UsageBatch.objects.update(state="accepted")
    with pytest.raises(ActionRefused, match="in the meantime"):
        list(TRY_NOW.run(batch))


def test_invoices_are_settled_at_once(
    subscriber: Person, staff: Client, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, images=60)
    seal_all()
    UsageBatch.objects.update(state="rejected")
    row = Subscription.objects.get(pk=subscriber.organization.pk)
    stripe_here.end_period(str(row.subscription_id))
    assert "Nothing was due" in do(staff, "mend", model=UsageBatch)
    earlier = timezone.now() - timedelta(hours=2)
    Invoice.objects.filter(done_at=None).update(
        created_at=earlier, finalizes_at=earlier, not_before=earlier
    )
    assert "is settled." in do(staff, "mend", model=UsageBatch)
    assert LogEntry.objects.count() == 2


def test_while_stripe_is_away_actions_say_so_and_nothing_is_lost(
    world: Generation, subscriber: Person, staff: Client, settings: Any, one_try: None
) -> None:
    event = WebhookEvent.objects.filter(type="customer.subscription.created").get()
    UsageBatch.objects.update(timestamp=timezone.now() - timedelta(minutes=20))
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    row = syncing.get_or_create(subscriber.organization)
    for said in (
        do(staff, "look", row),
        do(staff, "mend", model=UsageBatch),
        do(staff, "work", event),
    ):
        assert "could not be reached" in said
        assert "Nothing is lost" in said
    event.refresh_from_db()
    assert event.done_at is None
    assert event.claimed_until is None
    assert UsageBatch.objects.get().state == "sealed"


def test_an_event_is_worked_on_and_again(
    world: Generation, subscriber: Person, staff: Client, stripe_here: StripeSandbox
) -> None:
    event = WebhookEvent.objects.filter(type="customer.subscription.created").get()
    WebhookEvent.objects.filter(pk=event.pk).update(
        done_at=None, not_before=timezone.now() + timedelta(hours=1), note=""
    )
    notices = Notice.objects.count()
    for _ in range(2):
        assert f"{event}: active." in do(staff, "work", event)
        event.refresh_from_db()
        assert (event.note, event.claimed_until) == ("active", None)
        assert event.done_at
    assert Notice.objects.count() == notices


def test_sending_is_resumed(world: Generation, staff: Client) -> None:
    assert "act/resume" in staff.get(list_page(SendingPause)).content.decode()
    assert "Reporting to Stripe goes on." in do(staff, "resume", model=SendingPause)
    assert not SendingPause.objects.exists()
    assert "act/resume" not in staff.get(list_page(SendingPause)).content.decode()
    assert "Reporting is not paused." in do(staff, "resume", model=SendingPause)


def test_stripe_is_looked_at(
    subscriber: Person, alice: Person, staff: Client, stripe_here: StripeSandbox
) -> None:
    row = Subscription.objects.get()
    stripe_here.client().v1.subscriptions.cancel(str(row.subscription_id), {"invoice_now": True})
    assert "At Stripe it is Canceled" in do(staff, "look", row)
    row.refresh_from_db()
    assert row.status == "canceled"
    assert "no customer" in do(staff, "look", syncing.get_or_create(alice.organization))


def test_every_act_is_at_a_page_that_can_be_looked_at(db: None) -> None:
    assert {type(page) for model, page in OURS if getattr(page, "admin_actions", ())} <= set(
        ActionsAdmin.__subclasses__()
    )
    assert len(ADMIN_ACTIONS) == len({(model, action.name) for model, action in ADMIN_ACTIONS})
