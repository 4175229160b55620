"""The admin of payment: staff see all of it, change nothing by hand, and act through pages that ask why."""

import re
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Organization
from billing import refunds
from billing.admin.actions import ActionRefused, ActionsAdmin, AdminAction
from billing.admin.usage import TRY_NOW
from billing.ledger import trial
from billing.models import (
    Budget,
    Credit,
    LedgerEntry,
    Notice,
    Refund,
    SendingPause,
    SpendAlert,
    Subscription,
    UsageBatch,
    WebhookEvent,
)
from billing.reporting import batching, sending
from billing.subscriptions import freezing, syncing
from ecohash import reconcile
from images.models import Generation
from tests.cast import Person, make_user
from tests.images import make
from tests.pages.conftest import signed_in
from tests.payment import buy, seal_all
from tests.stripe_sandbox import StripeSandbox

OURS = [
    (model, page)
    for model, page in admin.site._registry.items()
    if model.__module__.startswith(("accounts.", "billing.", "images.", "ecohash."))
]
ADMIN_ACTIONS = [
    (model, action) for model, page in OURS for action in getattr(page, "admin_actions", ())
]
WHY = "Because of the storm"


@pytest.fixture
def staff(db: None) -> Client:
    """A browser of Stella's, who runs the place."""
    user = make_user("Stella")
    user.is_staff = user.is_superuser = True
    user.save()
    client = signed_in(Person(user, Organization(), None, ""))
    client.raise_request_exception = True
    return client


@pytest.fixture
def world(alice: Person, subscriber: Person, stripe_here: StripeSandbox) -> Generation:
    """A row of everything; returns an image that Sue's subscription paid."""
    make.succeeded(alice)
    refunds.refund_image(hold=make.succeeded(alice).hold, reason="Black", by="x@example.com")
    job = make.succeeded(subscriber)
    batching.seal()
    stripe_here.fault("429", path="/v1/billing/meter_events$", method="POST", times=1)
    sending.send_due()
    sending.pause("401")
    budget = Budget.objects.of_organization(subscriber.organization).get()
    SpendAlert.objects.create(
        budget=budget, month=budget.month, percent=80, cap_micros=12_500, spent_micros=10_000
    )
    trial.note_granted(organization=alice.organization, email=alice.user.email)
    return job


def list_page(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_of(row: Model) -> str:
    return f"{list_page(type(row))}{quote(row.pk)}/change/"


def action_page(model: type[Model], name: str, *rows: Model) -> str:
    return f"{list_page(model)}act/{name}/?{urlencode([('pk', row.pk) for row in rows])}"


def text(answer: Any) -> str:
    """What a reader sees of a page."""
    seen = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", answer.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(seen).split())


def do(
    client: Client, name: str, *rows: Model, model: type[Model] | None = None, **asked: Any
) -> str:
    """Read the act's page, then do it; returns what the next page says."""
    page = action_page(model or type(rows[0]), name, *rows)
    assert client.get(page).status_code == 200
    answer = client.post(page, asked, follow=True)
    assert answer.redirect_chain, text(answer)
    return text(answer)


# --- reading --------------------------------------------------------------------------------------


def test_each_list_and_page_opens_and_nothing_can_be_edited(
    world: Generation, staff: Client
) -> None:
    for model, _ in OURS:
        row = model._default_manager.first()
        assert row, f"the world lacks a {model.__name__}"
        listed = staff.get(list_page(model))
        assert listed.status_code == 200, model
        for address in (f"{list_page(model)}add/", f"{page_of(row)[:-7]}delete/"):
            assert staff.get(address).status_code == 403, address
        shown = staff.get(page_of(row))
        assert shown.status_code == 200, model
        form = re.search(r'<form[^>]*id="\w+_form".*?</form>', shown.content.decode(), re.DOTALL)
        fields = re.findall(r"<(?:input|select|textarea|button)\b[^>]*>", form[0])
        assert [field for field in fields if 'type="hidden"' not in field] == [], model
        assert staff.post(page_of(row), {"note": "Changed"}).status_code == 403, model


def test_lists_are_found_by_plain_names(world: Generation, staff: Client) -> None:
    index = text(staff.get("/admin/"))
    for name in ("Usage reported to Stripe", "Mails about money", "Events from Stripe", "Refunds"):
        assert name in index
    assert re.search(r"[a-z]_[a-z]", index) is None


def test_searches_and_filters_work(world: Generation, staff: Client) -> None:
    for model, page in OURS:
        query = {"q": "sue"} if page.search_fields else {}
        assert staff.get(list_page(model), query).status_code == 200, model
    assert staff.get(list_page(UsageBatch), {"state__exact": "sealed"}).status_code == 200


def test_ids_lead_to_stripe_and_in_the_sandbox_to_its_page(
    world: Generation, subscriber: Person, staff: Client, settings: Any
) -> None:
    settings.STRIPE_SANDBOX = False
    row = syncing.get_or_create(subscriber.organization)
    for page in (page_of(row), page_of(subscriber.organization)):
        for key, mode in (("sk_test_1", "test/"), ("sk_live_1", "")):
            settings.STRIPE_SECRET_KEY = key
            shown = staff.get(page).content.decode()
            assert f'"https://dashboard.stripe.com/{mode}customers/{row.customer_id}"' in shown
            assert f"stripe.com/{mode}subscriptions/{row.subscription_id}" in shown
    settings.STRIPE_SANDBOX = True
    assert f'href="{settings.STRIPE_API_BASE}"' in staff.get(page_of(row)).content.decode()


def test_an_organizations_page_tells_how_it_pays(
    world: Generation, subscriber: Person, alice: Person, staff: Client
) -> None:
    refunds.refund_image(hold=world.hold, reason="Torn", by="x@example.com")
    row = syncing.get_or_create(subscriber.organization)
    Subscription.objects.filter(pk=row.pk).update(
        status="past_due", past_due_since=timezone.now(), ends_at=timezone.now()
    )
    freezing.freeze(row, because="dispute dp_1")
    shown = text(staff.get(page_of(subscriber.organization)))
    for words in (
        *("Subscription: Past Due", "Stopped: dispute dp_1", "Past due since", "Canceled for"),
        *("1 image, $0.00", "$0.010 spent and $0.00 held, of no limit"),
        *("$0.010 in 1 refund, 1 not at Stripe yet", "1 image waiting to be sent"),
    ):
        assert words in shown
    shown = text(staff.get(page_of(alice.organization)))
    assert "Subscription: No subscription" in shown
    assert "$0.010 in 1 refund" in shown
    assert "Not billed yet: Nothing" in shown


def test_the_links_of_an_organizations_page_lead_to_its_lists(
    world: Generation, subscriber: Person, staff: Client
) -> None:
    refunds.refund_image(hold=world.hold, reason="Torn", by="x@example.com")
    shown = staff.get(page_of(subscriber.organization)).content.decode()
    links = {unescape(link) for link in re.findall(r'href="(/admin/billing/[^"]+\?[^"]*)"', shown)}
    lists = [link for link in links if "organization__id__exact" in link]
    assert len(lists) == 4
    for link in lists:
        assert staff.get(link).status_code == 200
    batch = staff.get(page_of(UsageBatch.objects.get())).content.decode()
    [images] = re.findall(r'href="(/admin/billing/hold/\?[^"]*)"', batch)
    assert world.pk in text(staff.get(images))


# --- who may act -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "action"), ADMIN_ACTIONS, ids=lambda part: getattr(part, "name", "")
)
def test_strangers_and_members_get_no_action(
    model: type[Model], action: AdminAction, alice: Person, alice_client: Client, client: Client
) -> None:
    page = action_page(model, action.name, alice.organization)
    for browser in (client, alice_client):
        for answer in (browser.get(page), browser.post(page, {"reason": WHY})):
            assert answer.status_code == 302
            assert "/login" in answer["Location"]


def test_staff_who_may_only_look_get_no_action(
    world: Generation, alice: Person, alice_client: Client
) -> None:
    alice.user.is_staff = True
    alice.user.save()
    alice.user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    for model, action in ADMIN_ACTIONS:
        row = model._default_manager.first()
        page = action_page(model, action.name, row)
        assert alice_client.get(page).status_code == 403
        assert alice_client.post(page, {"reason": WHY}).status_code == 403
        for shown in (alice_client.get(page_of(row)), alice_client.get(list_page(model))):
            assert shown.status_code == 200
            assert "/act/" not in shown.content.decode()
            assert action.label_for_many not in text(shown) or not action.label_for_many


@pytest.mark.parametrize(
    ("model", "action"),
    [pair for pair in ADMIN_ACTIONS if pair[1].form.base_fields],
    ids=lambda part: getattr(part, "name", ""),
)
def test_what_gives_or_stops_something_asks_why(
    model: type[Model], action: AdminAction, world: Generation, subscriber: Person, staff: Client
) -> None:
    freezing.freeze(syncing.get_or_create(subscriber.organization), because="dispute dp_1")
    row = world if model is Generation else subscriber.organization
    before = (
        LedgerEntry.objects.count(),
        Subscription.objects.get(pk=subscriber.organization.pk).frozen_because,
    )
    for reason in ("", "   "):
        asked = {"amount_micros": "0.01", "gone": "dispute dp_1", "reason": reason}
        answer = staff.post(action_page(model, action.name, row), asked)
        assert answer.status_code == 200
        assert "Say why." in text(answer)
    after = (
        LedgerEntry.objects.count(),
        Subscription.objects.get(pk=subscriber.organization.pk).frozen_because,
    )
    assert before == after


def test_a_look_at_an_actions_page_does_nothing(
    world: Generation, subscriber: Person, staff: Client
) -> None:
    tables = (LedgerEntry, Refund, Subscription, UsageBatch, WebhookEvent, SendingPause, LogEntry)
    before = [list(table.objects.order_by("pk").values()) for table in tables]
    for model, action in ADMIN_ACTIONS:
        row = world if model is Generation else model._default_manager.first()
        assert staff.get(action_page(model, action.name, row)).status_code == 200
    assert before == [list(table.objects.order_by("pk").values()) for table in tables]


def test_what_does_not_exist_is_not_found(world: Generation, staff: Client) -> None:
    for page in (
        action_page(Generation, "refund"),
        f"{list_page(Generation)}act/refund/?pk=gen_none",
        f"{list_page(UsageBatch)}act/try-now/?pk=no-uuid",
        f"{list_page(Generation)}act/delete/?pk={world.pk}",
    ):
        assert staff.get(page).status_code == 404


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


def test_comparing_with_stripe_confirms_what_was_counted(subscriber: Person, staff: Client) -> None:
    Subscription.objects.update(invoiced_until=None)
    buy(subscriber, at=timezone.now() - timedelta(minutes=20))
    [batch] = seal_all()
    sending.send_due()
    UsageBatch.objects.update(state="rejected")
    said = do(staff, "mend", model=UsageBatch)
    assert f"Batch {batch.pk}: Stripe's total shows that its 1 images were counted." in said
    assert UsageBatch.objects.get().state == "confirmed"
    assert "nothing was changed" in do(staff, "mend", model=UsageBatch)
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
