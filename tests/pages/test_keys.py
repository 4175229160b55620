"""The keys page: a secret is shown once, and a revoked key opens nothing."""

import pytest
from django.test import Client

from accounts.models import ApiKey, Membership
from tests.cast import Person


def make(client: Client, name: str = "Laptop two") -> tuple[str, str]:
    """Make a key; returns the answer's page and the secret that it shows."""
    answer = client.post("/dashboard/keys", {"name": name})
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    page = answer.content.decode()
    return page, page.partition('id="new-key" class="secret-text">')[2].partition("<")[0]


def test_a_new_keys_secret_works_as_shown(alices: Client) -> None:
    page, secret = make(alices)
    assert f"Authorization: Bearer {secret}" in page
    answer = Client().get("/v1/models", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200


def test_a_secret_is_shown_once_and_never_again(alices: Client) -> None:
    _, secret = make(alices)
    assert len(secret) > 40
    for path in ("/dashboard/keys", "/dashboard", "/docs"):
        assert secret not in alices.get(path).content.decode()
    assert secret not in str(dict(alices.session.items()))


def test_a_secret_stands_in_no_log(alices: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    _, secret = make(alices)
    assert secret not in caplog.text + str([vars(record) for record in caplog.records])


def test_a_key_without_a_name_is_refused_in_words_beside_the_field(alices: Client) -> None:
    answer = alices.post("/dashboard/keys", {"name": "  "})
    assert answer.status_code == 422
    assert "Give the key a name" in answer.content.decode()
    assert ApiKey.objects.count() == 1


def test_revoking_says_what_it_will_do_and_works_at_once(alice: Person, alices: Client) -> None:
    path = f"/dashboard/keys/{alice.key.pk}/revoke"
    assert "cannot be undone" in alices.get(path).content.decode()
    assert Client().get("/v1/models", headers=alice.headers).status_code == 200
    assert alices.post(path)["Location"] == "/dashboard/keys"
    assert Client().get("/v1/models", headers=alice.headers).status_code == 401
    assert "Revoked" in alices.get("/dashboard/keys").content.decode()


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
