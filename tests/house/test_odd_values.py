"""Values that no page of ours makes, at every address there is and in every field of every form.

A new page and a new field are tried before anybody thinks of it. Run with `--postgres` too: it refuses
texts and numbers that SQLite used to take.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.forms import UserForm
from django import forms
from django.contrib import admin
from django.core.cache import cache
from django.test import Client
from django.urls import get_resolver

from accounts.forms import KeyForm, KeySettingsForm, RotationForm
from accounts.sign_in import form_limits
from billing.admin import actions, organizations
from billing.pages.forms import SpendLimitForm, SubscribeForm
from images.models import Generation
from images.pages.forms import PlaygroundForm
from tests.calls import call
from tests.cast import Person
from tests.house.test_every_address_as_a_stranger import drawn_by_alice, routes
from tests.pages.conftest import signed_in

__all__ = ["drawn_by_alice"]

LONG = "x" * 200_000
# In a path or a query: percent-encoded where no client would send it bare.
IN_ADDRESSES = [
    "%00",
    "%FF%FE",
    "%F0%9F%A6%8A",
    "-1",
    "0",
    "9" * 20,
    "9" * 1_000,
    "%D9%A2%D9%A0",
    "0001-01",
    "9999-12",
    "0000-00",
    "9999-12-31T23:59:59%2B00:01",
    "1e999",
    "..%2F..",
    "x'--",
    "%5B%5D",
    "[",
]
IN_FIELDS = [
    "\0",
    "a\0b@example.com",
    f"{'x' * 120}@example.com",
    f"{'x' * 300}@example.com",
    f"x@{'y' * 300}.example",
    LONG,
    '"' * 50_000,
    "9" * 5_000,
    "9" * 20,
    "-1",
    "1e999999999",
    "NaN",
    "Infinity",
    "\u202e\U0001f98a",
    "\u0662\u0660\u0662\u0666-\u0661\u0661-\u0663\u0660",
    "0001-01-01",
    "9999-12-31",
    "203.0.113.1/99\n" * 4_000,
    "x\n" * 50_000,
]
PARAMETERS = {
    "/dashboard/requests": "status key before",
    "/dashboard/usage": "month",
    "/dashboard/usage.csv": "month",
    "/dashboard/billing": "before",
    "/dashboard/billing/invoices": "after",
    "/dashboard/billing/subscribed": "checkout",
    "/playground": "like",
    "/login": "next",
    "/signup": "next",
    "/v1/usage": "start end bucket group_by",
    "/v1/usage.csv": "start end bucket group_by",
    f"/i/{'a' * 32}.png": "expires sig",
}
OF_LISTS = (
    "p q o e all _facets _to_field id__exact created_at__gte created_at__year created_at__month"
    " created_at__day status__exact organization__id__exact"
)
IN_LISTS = ["0", "-1", "9999", "9" * 20, "9" * 1_000, "%F0%9F%A6%8A", "1+" * 1_000, "["]
STRANGERS = ("/login", "/signup", "/password", "/verify-email")
TERMS = {
    "name": "Laptop",
    "expiry": "date",
    "expires_on": "2027-01-31",
    "access": "generate",
    "monthly_cap_micros": "5",
    "requests_per_minute": "5",
    "images_per_minute": "5",
    "images_in_flight": "5",
    "allowed_networks": "203.0.113.7",
    "prefers_links": "on",
    "alias_names": "dall-e-3",
    "other_aliases": "my-model",
    "nearest_size": "on",
}
RIGHT = {
    "/login": {"login": "alice@example.com", "password": "wrong"},
    "/signup": {"email": "dave@example.com", "password1": "correct-horse-battery"},
    "/password/reset": {"email": "alice@example.com"},
    "/account/email": {"email": "alice2@example.com", "action_add": "1"},
    "/dashboard/keys": TERMS,
    "/dashboard/keys/KEY": TERMS,
    "/dashboard/billing": {"limit": "5"},
    "/playground": {"prompt": "a fox", "size": "512x512", "seed": "1"},
    "/admin/accounts/organization/act/grant/?pk=ORG": {"amount_micros": "5", "reason": "because"},
}
FORMS: list[Any] = [
    *(
        form
        for form in vars(form_limits).values()
        if isinstance(form, type) and issubclass(form, forms.Form)
    ),
    *(KeyForm, KeySettingsForm, RotationForm, SpendLimitForm, SubscribeForm, PlaygroundForm),
    *(actions.AmountForm, actions.ReasonForm, organizations.UnfreezeForm),
]


def addresses(alice: Person, job: Generation, odd: str | None) -> Iterator[str]:
    """Each address, its variables filled with what is Alice's, or with the odd value."""
    numbers = odd if odd and odd.isdigit() else str(alice.key.pk)
    for route in routes(get_resolver().url_patterns, ""):
        filled = re.sub(r"\(\?P<token>[^)]*\)", "a" * 32, route)
        filled = re.sub(r"\(\?P<generation_id>[^)]*\)|<\w*generation\w*:\w+>", job.pk, filled)
        filled = re.sub(r"<int:\w+>", numbers, filled)
        filled = re.sub(r"<(?:str|path|slug):\w+>|<\w+>", odd or "x", filled)
        filled = re.sub(r"\(\?P<\w+>[^)]*\)\)?", odd or "x", filled)
        yield "/" + re.sub(r"\(\?:[^)]*\)\??|\\Z|[\^$?\\]", "", filled)


def names_of_fields() -> set[str]:
    """Of every form that a page shows."""
    return {name for form in FORMS for name in form.base_fields} | {"login", "email", "password1"}


def staff(person: Person) -> Client:
    person.user.is_staff = person.user.is_superuser = True
    person.user.save()
    return signed_in(person)


def fault(client: Client, person: Person, path: str) -> list[str]:
    """The address, where the answer is a fault of ours. No worker is alive here, and /readyz says so."""
    # With a key, a page would be refused before it looks at anything.
    headers = person.headers if path.startswith("/v1") else {}
    status = client.get(path, headers=headers).status_code
    return [f"{path[:100]}: {status}"] if status >= 500 and not path.startswith("/readyz") else []


@pytest.mark.parametrize("odd", IN_ADDRESSES)
def test_no_address_breaks_on_an_odd_part(
    alice: Person, drawn_by_alice: Generation, odd: str
) -> None:
    client = staff(alice)
    usual = {*addresses(alice, drawn_by_alice, None)}
    odd_ones = {*addresses(alice, drawn_by_alice, odd)} - usual
    assert any(path.startswith("/verify-email/") for path in odd_ones)
    # What cannot be decoded breaks every page or none; the rest means something to few.
    pages = [path for path in usual if not path.startswith("/admin/")]
    everywhere = [f"{path}?{odd}={odd}" for path in pages if odd in IN_ADDRESSES[:3]]
    faults = [each for path in [*odd_ones, *everywhere] for each in fault(client, alice, path)]
    assert faults == []


@pytest.mark.parametrize("page", PARAMETERS)
def test_no_page_breaks_on_an_odd_parameter(alice: Person, page: str) -> None:
    # Stripe is asked by one of them, and away: each try takes a second.
    client = Client() if page in {"/login", "/signup"} else signed_in(alice)
    for odd in IN_ADDRESSES[:: 5 if page.endswith("/subscribed") else 1]:
        for name in PARAMETERS[page].split():
            assert fault(client, alice, f"{page}?{name}={odd}") == []


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model.__name__)
def test_no_list_of_the_admin_breaks_on_an_odd_filter(
    alice: Person, drawn_by_alice: Generation, model: Any
) -> None:
    client = staff(alice)
    page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    assert client.get(page).status_code == 200
    names = (
        OF_LISTS.split() if admin.site._registry[model].date_hierarchy else ["p", "q", "id__exact"]
    )
    faults = [
        each
        for name in names
        for odd in IN_LISTS
        for each in fault(client, alice, f"{page}?{name}={odd}")
    ]
    assert faults == []


@pytest.mark.parametrize("name", ["sessionid", "csrftoken", "messages", "other"])
def test_a_nul_in_a_cookie_is_a_bad_request(alice: Person, name: str) -> None:
    """In quotes it passes every server, and Django undoes the escape."""
    cookie = rf'{name}="\000\000abcdefghij"'
    assert call("GET", "/dashboard", HTTP_COOKIE=cookie).status_code == 400
    assert call("GET", "/v1/models", headers=alice.headers, HTTP_COOKIE=cookie).status_code == 200


def faults_of(client: Client, address: str, body: dict[str, str], odd: str) -> list[str]:
    """The address, where a form with these values is a fault of ours, or is answered at length."""
    cache.clear()
    answer = client.post(address, body)
    # Room for the page and for what was typed, of which each character may become six.
    short = len(answer.content) < 100_000 + 6 * len(odd.encode())
    return [] if answer.status_code < 500 and short else [f"{address}: {answer.status_code}"]


@pytest.mark.parametrize("odd", IN_FIELDS, ids=lambda odd: ascii(odd)[:20])
def test_no_form_breaks_on_odd_values(alice: Person, drawn_by_alice: Generation, odd: str) -> None:
    """Every field that any form has, at every address."""
    client = staff(alice)
    body = dict.fromkeys(names_of_fields(), odd)
    faults = []
    for address in sorted({*addresses(alice, drawn_by_alice, None)}):
        if not address.startswith(("/v1", "/i", "/webhooks", "/admin/", "/logout", "/readyz")):
            sender = Client() if address.startswith(STRANGERS) else client
            faults += faults_of(sender, address, body, odd)
    assert faults == []


@pytest.mark.parametrize(("page", "name"), [(page, name) for page in RIGHT for name in RIGHT[page]])
def test_no_form_breaks_on_one_odd_value(alice: Person, page: str, name: str) -> None:
    """Among values that pass: then what passes is acted upon. No field takes the longest, as is seen below."""
    address = page.replace("KEY", str(alice.key.pk)).replace("ORG", str(alice.organization.pk))
    client = Client() if page in STRANGERS else staff(alice)
    faults = [
        each
        for odd in IN_FIELDS
        if len(odd) <= 10_000
        for each in faults_of(client, address, RIGHT[page] | {name: odd}, odd)
    ]
    assert faults == []


def test_each_text_of_each_form_has_a_most(alice: Person) -> None:
    for form in FORMS:
        known: dict[Any, dict[str, Any]] = {
            KeyForm: {"organization": alice.organization},
            KeySettingsForm: {"key": alice.key},
            SubscribeForm: {"organization": alice.organization},
        }
        options = known.get(form, {})
        if issubclass(form, UserForm | form_limits.ReauthenticateForm):
            options = {"user": alice.user}
        for name, field in form(**options).fields.items():
            # Decimal, date and whole numbers are no CharField; what they take is measured as they are read.
            if isinstance(field, forms.CharField):
                assert field.max_length and field.max_length <= 10_000, (form, name)
