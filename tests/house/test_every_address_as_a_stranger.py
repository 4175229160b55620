"""Every page there is, called by nobody and by a stranger: a new page is tested before it is written."""

import re
from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import Organization
from billing.ledger import holds, pricing
from images.models import Generation
from tests.cast import Person

# What a person may read without a sign-in. Everything else must ask for one.
PUBLIC = re.compile(
    r"/|/docs(/clients)?|/favicon\.ico|/healthz|/readyz|/signup|/login|/logout|/verify-email.*|/password/reset.*"
    r"|/account/inactive|/v1.*|/i/.*|/static/.*"
    r"|/webhooks/leaked-keys|/webhooks/stripe"
)
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@pytest.fixture
def drawn_by_alice(alice: Person) -> Generation:
    """A job of Alice's that waits."""
    price = pricing.price_of(model="flux-1-schnell", size="512x512")
    hold = holds.place(organization=alice.organization, api_key=alice.key, price=price)
    return Generation.objects.create(
        organization=alice.organization,
        api_key=alice.key,
        hold=hold,
        request_id="req_test",
        model="flux-1-schnell",
        prompt="canary of Alice",
        size="512x512",
        seed=1,
        deadline_at=hold.created_at,
    )


def addresses(alice: Person, job: Generation) -> Iterator[str]:
    """Each page's address once, its variables filled with what is Alice's."""
    for route in routes(get_resolver().url_patterns, ""):
        if route.startswith("admin/"):
            continue
        filled = re.sub(r"<\w*generation\w*:\w+>|<generation_id>", job.pk, route)
        filled = re.sub(r"<int:\w+>", str(alice.key.pk), filled)
        filled = re.sub(r"<str:\w+>|<path:\w+>|<slug:\w+>", "x", filled)
        if not re.search(r"[<(^\\]", filled):
            yield f"/{filled}"


def routes(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[str]:
    """The routes of all patterns, included ones too."""
    for pattern in patterns:
        route = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


def test_the_list_of_addresses_holds_the_pages_that_matter(
    alice: Person, drawn_by_alice: Generation
) -> None:
    found = set(addresses(alice, drawn_by_alice))
    assert {
        "/dashboard",
        "/dashboard/keys",
        "/playground",
        f"/playground/{drawn_by_alice.pk}",
    } <= found
    assert f"/dashboard/keys/{alice.key.pk}/revoke" in found


@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_is_sent_to_the_sign_in_from_every_private_page(
    alice: Person, drawn_by_alice: Generation, method: str
) -> None:
    for address in addresses(alice, drawn_by_alice):
        if not PUBLIC.fullmatch(address):
            answer = getattr(Client(), method)(address)
            assert answer.status_code == 302, address
            assert answer["Location"].startswith("/login"), address


@pytest.mark.parametrize("method", ["get", "post"])
def test_what_is_alices_does_not_exist_for_charlie(
    alice: Person, charlie: Person, drawn_by_alice: Generation, method: str
) -> None:
    for address in addresses(alice, drawn_by_alice):
        client = Client()  # each time a new one: one of the addresses signs him out
        client.force_login(charlie.user, backend=BACKEND)
        answer = getattr(client, method)(address)
        if drawn_by_alice.pk in address or f"keys/{alice.key.pk}" in address:
            assert answer.status_code in {404, 405}, address
        assert b"canary of Alice" not in answer.content, address
    alice.key.refresh_from_db()
    assert alice.key.revoked_at is None


def test_the_api_hides_alices_job_from_charlies_key(
    charlie: Person, drawn_by_alice: Generation, client: Client
) -> None:
    address = f"/v1/images/generations/{drawn_by_alice.pk}"
    answer = client.get(address, headers=charlie.headers)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "generation_not_found"


def test_the_admin_opens_to_staff_alone_and_changes_nothing(alice: Person, client: Client) -> None:
    client.force_login(alice.user, backend=BACKEND)
    assert client.get("/admin/accounts/organization/").status_code == 302
    alice.user.is_staff = alice.user.is_superuser = True
    alice.user.save()
    page = f"/admin/accounts/organization/{alice.organization.pk}/change/"
    assert client.get(page).status_code == 200
    assert client.post(page, {"name": "Taken over"}).status_code == 403
    assert not Organization.objects.filter(name="Taken over").exists()
