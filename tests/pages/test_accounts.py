"""From sign-up to signed in, and back in after a forgotten password."""

import time

import pytest
from django.test import Client

from accounts.models import Membership, User
from billing.models import Credit
from tests.accounts.entrance import PASSWORD, link_in_mail
from tests.cast import Person
from tests.mails import sent


@pytest.fixture
def signed_up(db: None, client: Client) -> Client:
    answer = client.post("/signup", {"email": "dora@example.com", "password1": PASSWORD})
    assert answer["Location"] == "/verify-email"
    return client


def test_a_sign_up_brings_an_organization_and_no_credit_yet(signed_up: Client) -> None:
    membership = Membership.objects.get(user__email="dora@example.com")
    assert membership.role == Membership.Role.OWNER
    assert Credit.objects.get(organization=membership.organization).granted_micros == 0


def test_the_link_in_the_mail_verifies_and_signs_in(signed_up: Client) -> None:
    assert signed_up.get("/dashboard").status_code == 302
    link = link_in_mail()
    assert "Yes, verify it" in signed_up.get(link).content.decode()
    assert signed_up.post(link)["Location"] == "/dashboard"
    page = signed_up.get("/dashboard").content.decode()
    assert "Make a key" in page
    assert "of credit is waiting for you" in page


def test_the_page_of_the_link_makes_no_younger_one(signed_up: Client, monkeypatch) -> None:
    link = link_in_mail()
    later = time.time() + 3600
    monkeypatch.setattr("django.core.signing.time.time", lambda: later)
    page = signed_up.get(link).content.decode()
    assert "Yes, verify it" in page
    assert "/verify-email/" not in page


def test_nobody_signs_in_before_the_address_is_verified(signed_up: Client) -> None:
    stranger = Client()
    answer = stranger.post("/login", {"login": "dora@example.com", "password": PASSWORD})
    assert answer["Location"] == "/verify-email"
    assert stranger.get("/dashboard").status_code == 302


def test_a_damaged_verification_link_says_what_to_do(db: None, client: Client) -> None:
    page = client.get("/verify-email/never-made").content.decode()
    assert "This link no longer works" in page


def test_a_taken_address_is_not_told_to_whoever_asks(alice: Person, client: Client) -> None:
    answer = client.post("/signup", {"email": alice.user.email, "password1": PASSWORD})
    assert answer["Location"] == "/verify-email"
    assert User.objects.filter(email=alice.user.email).count() == 1
    assert "already has an account" in sent()[-1].body


def test_a_weak_password_is_refused_in_words_beside_it(db: None, client: Client) -> None:
    answer = client.post("/signup", {"email": "dora@example.com", "password1": "12345678"})
    assert 'id="id_password1_error"' in answer.content.decode()
    assert not User.objects.exists()


def test_a_forgotten_password_is_replaced_by_mail(alice: Person, client: Client) -> None:
    client.post("/password/reset", {"email": alice.user.email})
    form = client.get(link_in_mail())
    assert form["Location"].endswith("-set-password")
    assert "Choose a new password" in client.get(form["Location"]).content.decode()
    passwords = {"password1": PASSWORD, "password2": PASSWORD}
    # It signs in: the way for an owner whom guessers keep out.
    assert client.post(form["Location"], passwords)["Location"] == "/dashboard"
    assert "is changed" in client.get("/dashboard").content.decode()
    answer = Client().post("/login", {"login": alice.user.email, "password": PASSWORD})
    assert answer["Location"] == "/dashboard"


def test_a_reset_link_works_once(alice: Person, client: Client) -> None:
    client.post("/password/reset", {"email": alice.user.email})
    link = link_in_mail()
    form = client.get(link)["Location"]
    client.post(form, {"password1": PASSWORD, "password2": PASSWORD})
    assert "This link no longer works" in Client().get(link).content.decode()


def test_signing_out_needs_a_post(alice_client: Client) -> None:
    assert alice_client.get("/logout").status_code == 200
    assert alice_client.get("/dashboard").status_code == 200
    alice_client.post("/logout")
    assert alice_client.get("/dashboard").status_code == 302


@pytest.mark.parametrize("path", ["/account/password", "/account/email", "/logout"])
def test_each_account_page_answers(alice_client: Client, path: str) -> None:
    assert alice_client.get(path).status_code in {200, 302}
