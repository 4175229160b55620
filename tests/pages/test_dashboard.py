"""The dashboard: home, usage and billing."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, Membership
from billing.ledger import usage
from images.jobs import generation, leases
from images.models import Generation
from tests.cast import Person
from tests.images import make
from tests.pages.paying import subscribed, without_credit

PAGES = [
    "/dashboard",
    "/dashboard/first-steps",
    "/dashboard/keys",
    "/dashboard/requests",
    "/dashboard/usage",
    "/dashboard/billing",
    "/playground",
    "/playground/history",
]


@pytest.mark.parametrize("path", PAGES)
def test_each_page_answers_its_owner_and_carries_no_inline_style(
    alice: Person, alice_client: Client, path: str
) -> None:
    make.succeeded(alice)
    answer = alice_client.get(path)
    assert answer.status_code == 200
    assert " style=" not in answer.content.decode()


@pytest.mark.parametrize("path", PAGES)
def test_each_page_sends_strangers_to_the_sign_in(db: None, client: Client, path: str) -> None:
    assert client.get(path)["Location"] == f"/login?next={path}"


@pytest.mark.parametrize("path", PAGES)
def test_no_page_asks_once_more_for_each_row(
    alice: Person, alice_client: Client, path: str, django_assert_max_num_queries
) -> None:
    for _ in range(6):
        make.succeeded(alice)
    Generation.objects.update(user=alice.user)
    with django_assert_max_num_queries(16):
        alice_client.get(path)


def test_a_newcomer_sees_three_steps_that_follow_the_database(
    alice: Person, alice_client: Client
) -> None:
    ApiKey.objects.all().delete()
    assert "A key lets your programs draw" in alice_client.get("/dashboard").content.decode()
    alice_client.post("/dashboard/keys", {"name": "First"})
    assert 'id="first-call"' in alice_client.get("/dashboard/first-steps").content.decode()
    job = make.queued(replace(alice, key=ApiKey.objects.get()))
    assert "waiting for a worker" in alice_client.get("/dashboard/first-steps").content.decode()
    leases.deliver(claimed := make.claimed(), make.stored(claimed))
    done = alice_client.get("/dashboard/first-steps").content.decode()
    assert f"/dashboard/requests/{job.pk}" in done
    assert "every 3s" not in done
    assert "first-steps" not in alice_client.get("/dashboard").content.decode()


def test_home_counts_only_what_was_delivered(alice: Person, alice_client: Client) -> None:
    make.succeeded(alice)
    generation.expire(make.queued(alice))
    context = alice_client.get("/dashboard").context
    assert (context["today"].images, context["today"].micros) == (1, make.PRICE)
    assert context["success"] == 50.0


def test_somebody_who_belongs_nowhere_is_told_so(alice: Person, alice_client: Client) -> None:
    Membership.objects.all().delete()
    answer = alice_client.get("/dashboard")
    assert answer.status_code == 403
    assert "belongs to no organization" in answer.content.decode()


def test_usage_adds_up_by_day_size_and_key(alice: Person, alice_client: Client) -> None:
    make.succeeded(alice)
    make.succeeded(alice)
    context = alice_client.get("/dashboard/usage").context
    assert (context["total"].images, context["total"].micros) == (2, 2 * make.PRICE)
    assert [(day, spend.images) for day, spend in context["days"]] == [(timezone.now().date(), 2)]
    assert [(spend.label, spend.images) for spend in context["sizes"]] == [("512x512", 2)]
    assert [(spend.label, spend.images) for spend in context["keys"]] == [("Laptop", 2)]


def test_usage_is_split_by_payer_where_both_paid(alice: Person, alice_client: Client) -> None:
    make.succeeded(alice)
    assert "By payer" not in alice_client.get("/dashboard/usage").content.decode()
    subscribed(alice)
    without_credit(alice)
    make.succeeded(alice)
    make.succeeded(alice)
    answer = alice_client.get("/dashboard/usage")
    assert "By payer" in answer.content.decode()
    payers = [(spend.label, spend.images) for spend in answer.context["payers"]]
    assert payers == [("Subscription", 2), ("Credit", 1)]


def test_usage_of_another_organization_is_not_counted(alice: Person, charlies: Client) -> None:
    make.succeeded(alice)
    assert charlies.get("/dashboard/usage").context["total"].images == 0


@pytest.mark.parametrize("month", ["2026-13", "abc", "0000-00", "2026-11-01", "9999-12"])
def test_what_is_no_month_is_no_page(alice_client: Client, month: str) -> None:
    assert alice_client.get("/dashboard/usage", {"month": month}).status_code == 404


def test_a_month_is_whole_utc_days() -> None:
    period = usage.month(2028, 2)
    assert len(period.days) == 29
    assert period.starts_at == datetime(2028, 2, 1, tzinfo=UTC)
    assert period.end == date(2028, 3, 1)


def test_billing_shows_what_is_left_and_each_line_of_the_ledger(
    alice: Person, alice_client: Client
) -> None:
    job = make.succeeded(alice)
    page = alice_client.get("/dashboard/billing").content.decode()
    assert "$0.490" in page
    assert "\N{MINUS SIGN}$0.010" in page
    assert "+$0.500" in page
    assert f"/dashboard/requests/{job.pk}" in page


def test_a_long_ledger_has_pages_that_repeat_nothing(alice: Person, alice_client: Client) -> None:
    for _ in range(27):
        make.succeeded(alice)
    first = alice_client.get("/dashboard/billing").context
    second = alice_client.get("/dashboard/billing", {"before": first["older"]}).context
    seen = [entry.pk for entry in [*first["entries"], *second["entries"]]]
    assert len(seen) == len(set(seen)) == 28
    assert second["older"] is None
