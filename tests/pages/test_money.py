"""Money on pages: amounts as people read them, the monthly spend limit, and usage as a file."""

import csv
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, Membership, Organization
from billing.amounts import dollars
from billing.ledger import budgets
from billing.models import Budget, LedgerEntry, SpendAlert
from billing.pages.bar_chart import HEIGHT, SHORTEST, bar_chart
from tests.cast import Person
from tests.images import make

BILLING = "/dashboard/billing"


@pytest.mark.parametrize(
    ("micros", "words"),
    [
        (0, "$0.00"),
        (10_000, "$0.010"),
        (18_000, "$0.018"),
        (20_500, "$0.020500"),
        (500_000, "$0.500"),
        (1_234_560_000, "$1,234.56"),
        (4_048_000, "$4.048"),
        (-20_000, "-$0.020"),
        (None, "–"),
    ],
)
def test_money_is_shown_to_the_tenth_of_a_cent_where_it_must(
    micros: int | None, words: str
) -> None:
    assert dollars(micros) == words


def test_the_tallest_bar_fills_the_box_and_the_smallest_still_shows() -> None:
    chart = bar_chart([(1_000, "many"), (1, "one"), (0, "none")])
    assert [bar.height for bar in chart.bars] == [HEIGHT, SHORTEST, 0]


def test_an_empty_chart_is_no_error() -> None:
    assert bar_chart([]).bars == []


def cap_of(person: Person) -> int | None:
    return Organization.objects.get(pk=person.organization.pk).monthly_cap_micros


def set_limit(client: Client, limit: str) -> Any:
    return client.post(BILLING, {"limit": limit}, follow=True)


@pytest.mark.parametrize(
    ("limit", "micros"),
    [
        ("50", 50_000_000),
        (" $12.50 ", 12_500_000),
        ("0.005", 5_000),
        ("0", 0),
        ("1000000", 10**12),
    ],
)
def test_the_owner_sets_the_limit_down_to_the_tenth_of_a_cent(
    alice: Person, alice_client: Client, limit: str, micros: int | None
) -> None:
    budgets.set_cap(organization=alice.organization, cap_micros=7)
    answer = set_limit(alice_client, limit)
    assert answer.redirect_chain == [(BILLING, 302)]
    assert cap_of(alice) == micros
    assert "monthly spend limit" in str(next(iter(answer.context["messages"])))


@pytest.mark.parametrize("limit", ["12", "", "fifty"])
def test_no_limit_is_a_button_of_its_own(alice: Person, alice_client: Client, limit: str) -> None:
    budgets.set_cap(organization=alice.organization, cap_micros=7)
    assert 'name="no_limit"' in alice_client.get(BILLING).content.decode()
    answer = alice_client.post(BILLING, {"limit": limit, "no_limit": "on"}, follow=True)
    assert cap_of(alice) is None
    assert "no monthly spend limit" in str(next(iter(answer.context["messages"])))


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("", "Enter the spend limit in dollars"),
        ("fifty", "must be an amount in dollars"),
        ("0,50", "must be an amount in dollars"),
        ("NaN", "must be an amount in dollars"),
        ("Infinity", "must be an amount in dollars"),
        ("-1", "cannot be below zero"),
        ("0.0005", "down to tenths of a cent"),
        ("1000000.001", "can be at most $1,000,000"),
        ("9" * 40, "can be at most $1,000,000"),
    ],
)
def test_what_is_no_limit_is_said_by_name_and_changes_nothing(
    alice: Person, alice_client: Client, limit: str, words: str
) -> None:
    answer = set_limit(alice_client, limit)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "spend limit" in page
    assert words in page
    assert f'value="{limit}"' in page or not limit
    assert cap_of(alice) is None


def test_the_limit_in_force_stands_in_the_form(alice: Person, alice_client: Client) -> None:
    for micros, text in ((1_234_560_000, "1234.56"), (5_000, "0.005"), (0, "0.00")):
        budgets.set_cap(organization=alice.organization, cap_micros=micros)
        assert f'value="{text}"' in alice_client.get(BILLING).content.decode()


@pytest.mark.parametrize(
    ("role", "may"), [("owner", True), ("admin", True), ("billing", True), ("member", False)]
)
def test_members_see_the_limit_and_others_set_it(
    bob: Person, bobs: Client, role: str, *, may: bool
) -> None:
    Membership.objects.filter(user=bob.user).update(role=role)
    page = bobs.get(BILLING).content.decode()
    assert "Monthly spend limit" in page
    assert ('name="limit"' in page) == may
    assert set_limit(bobs, "5").status_code == (200 if may else 403)
    assert cap_of(bob) == (5_000_000 if may else None)


def test_a_limit_is_of_ones_own_organization(alice: Person, charlies: Client) -> None:
    set_limit(charlies, "0")
    assert cap_of(alice) is None
    make.queued(alice)


def test_the_page_counts_what_is_spent_and_held(alice: Person, alice_client: Client) -> None:
    set_limit(alice_client, "0.04")
    make.succeeded(alice)
    make.running(alice)
    page = alice_client.get(BILLING).content.decode()
    assert "<strong>$0.020</strong> of $0.040" in page
    assert "$0.010 of it held for images in progress" in page
    assert '<progress max="100" value="50"' in page
    assert "The limit is reached" not in page


def test_a_limit_below_what_is_spent_is_taken_and_explained(
    alice: Person, alice_client: Client
) -> None:
    make.succeeded(alice)
    answer = set_limit(alice_client, "0.005")
    [message] = answer.context["messages"]
    assert "$0.010 is spent or held already" in str(message)
    assert "refused until next month (UTC)" in str(message)
    with pytest.raises(budgets.SpendLimitReached):
        make.queued(alice)


def test_a_reached_limit_is_said_on_billing_and_home(
    alice: Person, alice_client: Client, bobs: Client
) -> None:
    make.succeeded(alice)
    set_limit(alice_client, "0.019")
    assert "The limit is reached" in alice_client.get(BILLING).content.decode()
    assert "until an owner, an admin" in bobs.get(BILLING).content.decode()
    assert "spend limit of $0.019 is reached" in alice_client.get("/dashboard").content.decode()
    set_limit(alice_client, "0.020")
    assert "is reached" not in alice_client.get("/dashboard").content.decode()


def test_home_shows_the_month_against_the_limit(alice: Person, alice_client: Client) -> None:
    make.succeeded(alice)
    assert " limit" not in alice_client.get("/dashboard").content.decode()
    set_limit(alice_client, "50")
    assert "of $50.00 limit</a>" in alice_client.get("/dashboard").content.decode()


def rows_of(client: Client, **query: str) -> list[dict[str, str]]:
    answer = client.get("/dashboard/usage.csv", query)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(StringIO(answer.content.decode())))


def test_the_usage_page_offers_its_month_as_a_file(alice: Person, alice_client: Client) -> None:
    ApiKey.objects.filter(pk=alice.key.pk).update(name="=cmd()")
    make.succeeded(alice)
    make.succeeded(alice)
    today = timezone.now().date()
    address = f"/dashboard/usage.csv?month={today:%Y-%m}"
    assert address in alice_client.get("/dashboard/usage").content.decode()
    answer = alice_client.get(address)
    assert answer["Content-Disposition"] == f'attachment; filename="usage-{today:%Y-%m}.csv"'
    [row] = rows_of(alice_client)
    assert row["start"].startswith(str(today))
    assert row["end"].startswith(str(today + timedelta(days=1)))
    assert (row["key"], row["size"], row["images"]) == ("'=cmd()", "512x512", "2")
    assert row["cost_usd"] == "0.020000"


def test_the_file_is_of_that_month_and_that_organization_alone(
    alice: Person, alice_client: Client, charlies: Client
) -> None:
    make.succeeded(alice)
    assert rows_of(charlies) == rows_of(alice_client, month="2026-01") == []
    assert alice_client.get("/dashboard/usage.csv", {"month": "never"}).status_code == 404


def test_the_file_adds_up_to_the_ledger(alice: Person, bob: Person, alice_client: Client) -> None:
    for person in (alice, alice, bob):
        make.succeeded(person)
    total = sum(int(row["cost_micros"]) for row in rows_of(alice_client))
    assert total == sum(entry.amount_micros for entry in LedgerEntry.objects.filter(kind="capture"))


def test_staff_see_budgets_and_alerts_and_change_nothing(
    alice: Person, alice_client: Client
) -> None:
    alice.user.is_staff = alice.user.is_superuser = True
    alice.user.save()
    make.succeeded(alice)
    budget = Budget.objects.of_organization(alice.organization).get()
    alert = SpendAlert.objects.create(
        budget=budget, month=budget.month, percent=80, cap_micros=12_500, spent_micros=10_000
    )
    for name, row, words in (("budget", budget, "$0.010"), ("spendalert", alert, "80 %")):
        page = f"/admin/billing/{name}/"
        assert words in alice_client.get(page).content.decode()
        assert alice_client.get(f"{page}{row.pk}/change/").status_code == 200
        assert alice_client.post(f"{page}{row.pk}/change/", {"percent": 1}).status_code == 403
