"""No cache keeps what one reader was shown: every address is asked, and a new page is tested before it is written."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver
from pytest_django import Settings

from images.models import Generation
from images.pictures import links
from tests.cast import Person
from tests.house.test_every_address_as_a_stranger import (
    BACKEND,
    PUBLIC,
    addresses,
    drawn_by_alice,
    routes,
)
from tests.images import make

__all__ = ["drawn_by_alice"]

# What holds a form, or an address of a mail: not signed in, and still for one reader.
FORMS = ("/signup", "/login", "/password/reset")
OPEN = ("/", "/docs", "/nowhere", "/verify-email", "/password/reset/sent", "/password/reset/done")


def kept_by_nobody(answer: Any) -> bool:
    directives = set(re.split(r",\s*", answer.headers.get("Cache-Control", "")))
    return {"private", "no-store"} <= directives


def signed_in(person: Person) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(person.user, backend=BACKEND)
    return client


def admin_addresses() -> Iterator[str]:
    """All but its sign-in, which sends everybody to ours."""
    for route in routes(get_resolver().url_patterns, ""):
        if route.startswith("admin/") and route != "admin/login/":
            filled = re.sub(r"<(int|str|path):\w+>", "1", route)
            if not re.search(r"[(^\\<]", filled):
                yield f"/{filled}"


@pytest.mark.parametrize("method", ["get", "head", "post"])
def test_nobodys_way_to_the_sign_in_is_kept_by_nobody(
    alice: Person, drawn_by_alice: Generation, method: str
) -> None:
    asked = [a for a in addresses(alice, drawn_by_alice) if not PUBLIC.fullmatch(a)]
    assert len(asked) > 15
    for address in [*asked, *admin_addresses()]:
        answer = getattr(Client(), method)(address)
        assert kept_by_nobody(answer), (address, answer.status_code)


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("name", ["alice", "charlie"])
def test_a_members_pages_refusals_and_errors_are_kept_by_nobody(
    alice: Person, charlie: Person, drawn_by_alice: Generation, method: str, name: str
) -> None:
    """Charlie's answers are mostly 404; public pages name the account of whoever is signed in."""
    seen = set()
    for address in addresses(alice, drawn_by_alice):
        client = signed_in({"alice": alice, "charlie": charlie}[name])
        answer = getattr(client, method)(address)
        if not re.match(r"/(v1|i|static)(/|$)", address):
            seen.add(answer.status_code)
            assert kept_by_nobody(answer), (address, answer.status_code)
    assert {"get": {200, 302, 404, 405}, "post": {302, 405}}[method] <= seen


def test_an_operators_pages_are_kept_by_nobody(alice: Person) -> None:
    alice.user.is_staff = alice.user.is_superuser = True
    alice.user.save()
    asked = list(admin_addresses())
    assert len(asked) > 20
    for address in asked:
        answer = signed_in(alice).get(address)
        assert kept_by_nobody(answer), (address, answer.status_code)


def test_pages_that_are_not_allowed_broken_or_nowhere_are_kept_by_nobody(
    bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_in(bob)
    refused = client.post("/dashboard/billing", {"limit": "5"})
    monkeypatch.setattr("ecohash.pages.dashboard.steps_context", None)
    broken = client.get("/dashboard")
    for answer, status in ((refused, 403), (broken, 500), (client.get("/nowhere"), 404)):
        assert (answer.status_code, kept_by_nobody(answer)) == (status, True)


def test_a_form_without_its_token_is_refused_and_kept_by_nobody(alice: Person) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice.user, backend=BACKEND)
    answer = client.post("/dashboard/keys", {"name": "x"})
    assert (answer.status_code, kept_by_nobody(answer)) == (403, True)


@pytest.mark.parametrize("address", FORMS)
def test_what_holds_a_form_is_kept_by_nobody(db: None, address: str) -> None:
    assert kept_by_nobody(Client().get(address))


@pytest.mark.parametrize("address", OPEN)
def test_what_all_strangers_see_alike_may_be_kept(db: None, address: str) -> None:
    assert "no-store" not in Client().get(address).headers.get("Cache-Control", "")


def test_static_files_are_kept_whoever_asks(alice: Person) -> None:
    for client in (Client(), signed_in(alice)):
        answer = client.get("/static/ecohash/app.css")
        answer.close()
        assert answer.status_code == 200
        assert "public" in answer["Cache-Control"] and "no-store" not in answer["Cache-Control"]


def test_the_api_is_kept_by_nobody_and_a_hosted_picture_by_its_reader(
    alice: Person, settings: Settings
) -> None:
    for path in ("/v1/models", "/v1/key", "/v1/usage", "/v1/usage.csv", "/v1/nowhere", "/i/x"):
        for headers in ({}, alice.headers):
            assert Client().get(path, headers=headers)["Cache-Control"] == "no-store", path
    link = links.url_of(make.succeeded(alice).image)
    answer = Client().get(link.removeprefix(settings.BASE_URL))
    answer.close()
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "private, max-age=3600"
