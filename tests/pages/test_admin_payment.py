"""The admin of payment: staff see all of it and change nothing by hand, and who may act."""

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from billing import refunds
from billing.admin.actions import AdminAction
from billing.models import (
    LedgerEntry,
    Refund,
    SendingPause,
    Subscription,
    UsageBatch,
    WebhookEvent,
)
from billing.subscriptions import freezing, syncing
from images.models import Generation
from tests.cast import Person
from tests.pages.admin import ADMIN_ACTIONS, OURS, WHY, action_page, list_page, page_of, text

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
    assert len(lists) == 5
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
