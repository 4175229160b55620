"""The list of keys: page by page, full, and as a filter of requests."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import ApiKey
from tests.cast import Person
from tests.html import flat
from tests.pages.test_keys import make, rotate


def many(person: Person, number: int, **fields: object) -> None:
    """So many keys, made one after another before today."""
    before = timezone.now() - timedelta(days=30)
    made = ApiKey.objects.bulk_create(
        ApiKey(
            organization=person.organization,
            name=f"Key number {n}",
            prefix="eco_Many",
            last_four=f"{n:04}"[-4:],
            digest=f"{ApiKey.objects.count()} {n}",
            pepper_version=1,
            **fields,
        )
        for n in range(number)
    )
    for n, key in enumerate(made):
        key.created_at = before + timedelta(seconds=n)
    ApiKey.objects.bulk_update(made, ["created_at"], batch_size=100)


def names_on(page: str) -> list[str]:
    return re.findall(r'class="name-cell"><a href="[^"]*">([^<]*)<', page)


def next_of(page: str) -> str | None:
    found = re.search(r'href="(\?[^"]*)" rel="next"', page)
    return found[1] if found else None


def test_all_keys_are_found_page_by_page_each_once_and_those_that_work_first(
    alice: Person, alice_client: Client
) -> None:
    many(alice, 30)
    many(alice, 30, revoked_at=timezone.now())
    pages, query = [], "?"
    while query:
        page = flat(alice_client.get(f"/dashboard/keys{query}").content.decode())
        pages.append(names_on(page))
        query = next_of(page)
    order = [f"Key number {n}" for n in reversed(range(30))]
    assert [name for names in pages for name in names] == ["Laptop", *order, *order]
    assert [len(names) for names in pages] == [25, 25, 11]
    assert "First page" in page


def test_the_list_asks_as_little_of_many_keys_as_of_few(
    alice: Person, alice_client: Client, django_assert_max_num_queries: Any
) -> None:
    counted = []
    for number in (1, 100):
        many(alice, number, revoked_at=timezone.now())
        with django_assert_max_num_queries(20) as asked:
            alice_client.get("/dashboard/keys")
        counted.append(len(asked))
    assert counted[0] == counted[1]


@pytest.mark.parametrize("after", ["x", "-1", "0", "9" * 40, "%F0%9F%A6%8A", "1%20"])
def test_a_page_after_no_key_is_nowhere(alice_client: Client, after: str) -> None:
    assert alice_client.get(f"/dashboard/keys?after={after}").status_code == 404


def test_a_page_after_another_organizations_key_is_nowhere(alice: Person, charlies: Client) -> None:
    assert charlies.get(f"/dashboard/keys?after={alice.key.pk}").status_code == 404


def test_a_full_organization_is_told_to_revoke_one(
    alice: Person, alice_client: Client, settings: Settings
) -> None:
    settings.API_KEYS_PER_ORGANIZATION = 2
    make(alice_client)
    page = alice_client.get("/dashboard/keys").content.decode()
    assert "2 working API keys" in page and "Make a key" not in page
    # The form was open before the last one was made.
    answer = alice_client.post("/dashboard/keys", {"name": "Typed before"})
    assert answer.status_code == 422
    assert "Revoke one that is no longer needed" in answer.content.decode()
    assert "Typed before" in answer.content.decode()
    alice_client.post(f"/dashboard/keys/{alice.key.pk}/revoke")
    assert "Make a key" in alice_client.get("/dashboard/keys").content.decode()
    make(alice_client)


def test_a_rotation_that_is_refused_says_why(
    alice: Person, alice_client: Client, settings: Settings
) -> None:
    settings.API_KEYS_PER_ORGANIZATION = 1
    rotate(alice_client, alice.key)
    new = ApiKey.objects.latest("pk")
    answer = alice_client.post(f"/dashboard/keys/{new.pk}/rotate", {"overlap": "24"}, follow=True)
    assert "No new key was made. Too many keys" in answer.content.decode()


def test_the_filter_of_requests_offers_no_thousands_but_the_chosen_one(
    alice: Person, alice_client: Client
) -> None:
    many(alice, 120, revoked_at=timezone.now())
    oldest = ApiKey.objects.order_by("created_at").first()
    page = flat(alice_client.get(f"/dashboard/requests?key={oldest.pk}").content.decode())
    assert page.count("<option") < 120
    assert f'<option value="{oldest.pk}" selected>' in page
    assert f'<option value="{alice.key.pk}">' in page
