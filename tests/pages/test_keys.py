"""The keys pages: a secret is shown once, a key does what was asked for, and a revoked one nothing."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.keys import keys, rotation
from accounts.models import ApiKey, Membership
from billing.ledger import holds, pricing
from tests.cast import Person
from tests.html import flat

WHOLE = {
    "name": "Narrow",
    "expiry": "30",
    "access": "generate",
    "monthly_cap_micros": "$1.500",
    "requests_per_minute": "60",
    "images_per_minute": "30",
    "images_in_flight": "2",
    "allowed_networks": "203.0.113.7\r\n2001:db8::/32",
}


def make(client: Client, name: str = "Laptop two") -> tuple[str, str]:
    """Make a key; returns the answer's page and the secret that it shows."""
    answer = client.post("/dashboard/keys", {"name": name})
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    page = answer.content.decode()
    return page, page.partition('id="new-key" class="secret-text">')[2].partition("<")[0]


def test_a_new_keys_secret_works_as_shown(alice_client: Client) -> None:
    page, secret = make(alice_client)
    assert f"Authorization: Bearer {secret}" in page
    answer = Client().get("/v1/models", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200


def test_a_secret_is_shown_once_and_never_again(alice_client: Client) -> None:
    _, secret = make(alice_client)
    assert len(secret) > 40
    for path in ("/dashboard/keys", "/dashboard", "/docs"):
        assert secret not in alice_client.get(path).content.decode()
    assert secret not in str(dict(alice_client.session.items()))


def test_a_secret_stands_in_no_log(alice_client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    _, secret = make(alice_client)
    assert secret not in caplog.text + str([vars(record) for record in caplog.records])


def test_a_key_without_a_name_is_refused_in_words_beside_the_field(alice_client: Client) -> None:
    answer = alice_client.post("/dashboard/keys", {"name": "  "})
    assert answer.status_code == 422
    assert "Give the key a name" in answer.content.decode()
    assert ApiKey.objects.count() == 1


def test_revoking_says_what_it_will_do_and_works_at_once(
    alice: Person, alice_client: Client
) -> None:
    path = f"/dashboard/keys/{alice.key.pk}/revoke"
    assert "cannot be undone" in alice_client.get(path).content.decode()
    assert Client().get("/v1/models", headers=alice.headers).status_code == 200
    assert alice_client.post(path)["Location"] == "/dashboard/keys"
    assert Client().get("/v1/models", headers=alice.headers).status_code == 401
    assert "Revoked" in alice_client.get("/dashboard/keys").content.decode()


def test_another_organizations_key_is_nowhere(alice: Person, charlies: Client) -> None:
    assert alice.key.hint not in charlies.get("/dashboard/keys").content.decode()
    assert charlies.post(f"/dashboard/keys/{alice.key.pk}/revoke").status_code == 404
    alice.key.refresh_from_db()
    assert alice.key.revoked_at is None


def test_a_member_makes_keys(bobs: Client) -> None:
    _, secret = make(bobs)
    assert secret.startswith("eco_")


def test_the_billing_role_sees_keys_and_makes_none(bob: Person, bobs: Client) -> None:
    Membership.objects.filter(user=bob.user).update(role=Membership.Role.BILLING)
    assert "Your role is billing" in bobs.get("/dashboard/keys").content.decode()
    count = ApiKey.objects.count()
    for path in ("/dashboard/keys", f"/dashboard/keys/{bob.key.pk}/revoke"):
        answer = bobs.post(path, {"name": "Mine"})
        assert answer.status_code == 403
        assert "Your role in this organization is billing" in answer.content.decode()
    assert ApiKey.objects.live().count() == count


def rotate(client: Client, key: ApiKey, overlap: str = "24") -> tuple[str, str]:
    """Rotate a key; returns the answer's page and the secret that it shows."""
    answer = client.post(f"/dashboard/keys/{key.pk}/rotate", {"overlap": overlap})
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    page = answer.content.decode()
    return page, page.partition('id="new-key" class="secret-text">')[2].partition("<")[0]


def test_a_key_is_made_with_all_that_was_filled_in(alice_client: Client) -> None:
    assert alice_client.post("/dashboard/keys", WHOLE).status_code == 200
    key = ApiKey.objects.latest("pk")
    assert timedelta(days=29) < key.expires_at - timezone.now() <= timedelta(days=30)
    assert key.scopes == ["generate"]
    assert key.allowed_networks == ["203.0.113.7/32", "2001:db8::/32"]
    assert (key.monthly_cap_micros, key.requests_per_minute) == (1_500_000, 60)
    assert (key.images_per_minute, key.images_in_flight) == (30, 2)


def test_a_name_alone_makes_a_key_without_limits_of_its_own(alice_client: Client) -> None:
    make(alice_client)
    key = ApiKey.objects.latest("pk")
    assert key.scopes == ["generate", "usage.read"]
    assert (key.expires_at, key.monthly_cap_micros, key.allowed_networks) == (None, None, [])


def test_a_date_of_ones_own_is_the_last_day_that_the_key_works(alice_client: Client) -> None:
    day = timezone.now().date() + timedelta(days=3)
    alice_client.post("/dashboard/keys", WHOLE | {"expiry": "date", "expires_on": str(day)})
    assert str(ApiKey.objects.latest("pk").expires_at) == f"{day} 23:59:59+00:00"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"expiry": "date"}, "Choose the last day"),
        ({"expiry": "date", "expires_on": "2020-01-01"}, "That day is over"),
        ({"expiry": "date", "expires_on": "9999-12-31"}, "At most ten years"),
        ({"expiry": "date", "expires_on": "soon"}, "Write the date as"),
        ({"expiry": "8"}, "Choose one of the times"),
        ({"access": "admin"}, "Choose one of the three"),
        ({"monthly_cap_micros": "0.0001"}, "down to tenths of a cent"),
        ({"monthly_cap_micros": "-1"}, "cannot be below zero"),
        ({"monthly_cap_micros": "NaN"}, "must be an amount in dollars"),
        ({"monthly_cap_micros": "0,50"}, "must be an amount in dollars"),
        ({"monthly_cap_micros": "1e99"}, "at most $1,000,000"),
        ({"requests_per_minute": "0"}, "At least 1"),
        ({"images_per_minute": "9" * 30}, "At most 1,000,000"),
        ({"images_in_flight": "x"}, "Write a whole number"),
        ({"allowed_networks": "10.0.0.1\nfoo"}, "Line 2: “foo” is no address"),
        ({"allowed_networks": "\n".join(f"10.0.0.{n}" for n in range(51))}, "at most 50 networks"),
        ({"name": "a\x00b"}, "Null characters"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_the_rest_is_kept(
    alice_client: Client, wrong: dict[str, str], words: str
) -> None:
    answer = alice_client.post("/dashboard/keys", WHOLE | {"name": "Typed before"} | wrong)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert page.count('class="field wrong"') == 1
    assert words in page
    if "name" not in wrong:
        assert '<details class="more" open>' in page and "Typed before" in page
    assert ApiKey.objects.count() == 1


def test_the_page_of_a_key_tells_what_it_may_do(alice_client: Client, alice: Person) -> None:
    alice_client.post("/dashboard/keys", WHOLE)
    key = ApiKey.objects.latest("pk")
    page = flat(alice_client.get(f"/dashboard/keys/{key.pk}").content.decode())
    for words in (
        key.hint,
        "alice@example.com",
        "203.0.113.7/32",
        "$0.00 spent of $1.50",
        "30 images",
    ):
        assert words in page
    assert (
        f'href="/dashboard/keys/{key.pk}"' in alice_client.get("/dashboard/keys").content.decode()
    )


def test_a_key_is_changed_and_an_expiry_that_nobody_touched_stays(
    alice: Person, alice_client: Client
) -> None:
    ends = timezone.now() + timedelta(days=3)
    ApiKey.objects.filter(pk=alice.key.pk).update(expires_at=ends)
    path = f"/dashboard/keys/{alice.key.pk}"
    assert alice_client.post(path, WHOLE | {"expiry": "keep"})["Location"] == path
    alice.key.refresh_from_db()
    assert (alice.key.name, alice.key.expires_at) == ("Narrow", ends)
    assert alice.key.allowed_networks == ["203.0.113.7/32", "2001:db8::/32"]
    alice_client.post(path, WHOLE | {"expiry": "never"})
    alice.key.refresh_from_db()
    assert alice.key.expires_at is None


def test_what_a_change_leaves_out_never_widens_the_key(alice: Person, alice_client: Client) -> None:
    answer = alice_client.post(f"/dashboard/keys/{alice.key.pk}", {"name": "Wider"})
    assert answer.status_code == 422
    alice.key.refresh_from_db()
    assert alice.key.name == "Laptop"


def test_rotating_shows_the_new_secret_once_and_leaves_the_old_one_its_overlap(
    alice: Person, alice_client: Client
) -> None:
    before = alice_client.get(f"/dashboard/keys/{alice.key.pk}/rotate").content.decode()
    assert "Both count against the same limits" in before and ApiKey.objects.count() == 1
    page, secret = rotate(alice_client, alice.key)
    assert alice.key.hint in page
    for headers in (alice.headers, {"Authorization": f"Bearer {secret}"}):
        assert Client().get("/v1/models", headers=headers).status_code == 200
    listed = alice_client.get("/dashboard/keys").content.decode()
    assert "Rotated" in listed and "works until" in listed
    new = ApiKey.objects.latest("pk")
    for path in ("", f"/{alice.key.pk}", f"/{new.pk}"):
        assert secret not in alice_client.get(f"/dashboard/keys{path}").content.decode()


def test_an_overlap_that_is_not_offered_makes_no_key(alice: Person, alice_client: Client) -> None:
    answer = alice_client.post(f"/dashboard/keys/{alice.key.pk}/rotate", {"overlap": "9999"})
    assert answer.status_code == 422
    assert "Choose one of the times" in answer.content.decode()
    assert ApiKey.objects.count() == 1


def test_rotating_twice_from_two_windows_makes_one_key_and_says_why(
    alice: Person, alice_client: Client
) -> None:
    rotate(alice_client, alice.key)
    answer = alice_client.post(
        f"/dashboard/keys/{alice.key.pk}/rotate", {"overlap": "0"}, follow=True
    )
    assert "No new key was made. This key was rotated before." in answer.content.decode()
    assert (
        "cannot be rotated"
        in alice_client.get(f"/dashboard/keys/{alice.key.pk}/rotate").content.decode()
    )
    assert ApiKey.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"expires_at": timedelta(days=3)}, "Expires soon"),
        ({"expires_at": timedelta(days=-1)}, "Expired"),
        ({"revoked_at": timedelta(0)}, "Revoked"),
        ({"suspended_at": timedelta(0), "suspended_because": "Found at example.com"}, "Suspended"),
        ({}, "Active"),
    ],
)
def test_list_and_page_say_how_the_key_stands(
    alice: Person, alice_client: Client, changes: dict[str, object], word: str
) -> None:
    now = timezone.now()
    values = {n: now + v if isinstance(v, timedelta) else v for n, v in changes.items()}
    ApiKey.objects.filter(pk=alice.key.pk).update(**values)
    pages = [
        alice_client.get(path).content.decode()
        for path in ("/dashboard/keys", f"/dashboard/keys/{alice.key.pk}")
    ]
    assert all(f">{word}</span>" in page for page in pages)
    live = word in {"Active", "Expires soon"}
    assert (f"/dashboard/keys/{alice.key.pk}/rotate" in pages[1]) is live
    if word == "Suspended":
        assert all("Found at example.com" in page for page in pages)


def test_every_page_of_a_key_is_nowhere_for_a_stranger(alice: Person, charlies: Client) -> None:
    for path in ("", "/rotate", "/revoke"):
        address = f"/dashboard/keys/{alice.key.pk}{path}"
        assert charlies.get(address).status_code == 404
        assert charlies.post(address, WHOLE | {"overlap": "0"}).status_code == 404
    assert list(ApiKey.objects.filter(organization=alice.organization)) == [alice.key]


def test_the_billing_role_reads_a_key_and_changes_nothing(bob: Person, bobs: Client) -> None:
    Membership.objects.filter(user=bob.user).update(role=Membership.Role.BILLING)
    address = f"/dashboard/keys/{bob.key.pk}"
    page = bobs.get(address).content.decode()
    assert bob.key.hint in page and "Edit key" not in page and "/rotate" not in page
    assert bobs.post(address, WHOLE | {"expiry": "never"}).status_code == 403
    assert bobs.post(f"{address}/rotate", {"overlap": "0"}).status_code == 403
    bob.key.refresh_from_db()
    assert bob.key.name == "Laptop" and bob.key.is_live


def test_every_verb_wants_the_token_of_its_own_page(alice: Person) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    for path in ("", f"/{alice.key.pk}", f"/{alice.key.pk}/rotate", f"/{alice.key.pk}/revoke"):
        assert client.post(f"/dashboard/keys{path}", WHOLE | {"overlap": "0"}).status_code == 403
    assert list(ApiKey.objects.all().live()) == [alice.key]


def test_the_page_of_a_key_counts_what_its_whole_line_has_spent(
    alice: Person, alice_client: Client
) -> None:
    price = pricing.price_of(model="flux-1-schnell", size="1024x1024")
    holds.place(organization=alice.organization, api_key=alice.key, price=price)
    new, _ = rotation.rotate(key=alice.key, overlap=timedelta(0), created_by=None)
    page = alice_client.get(f"/dashboard/keys/{new.pk}").content.decode()
    assert "$0.020 spent" in page and "by it and the keys before it" in page


def test_what_is_over_for_good_stands_last_and_offers_nothing(
    alice: Person, alice_client: Client
) -> None:
    last, _ = keys.mint(organization=alice.organization, name="Gone")
    keys.revoke(last)
    page = alice_client.get("/dashboard/keys").content.decode()
    assert page.index("Laptop") < page.index("Gone")
    assert f"/dashboard/keys/{last.pk}/revoke" not in page
