"""A sign-up tells nobody whether an address is known, and what nobody verifies does not stay."""

import re
from datetime import timedelta
from functools import partial

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Membership, Organization, User
from billing.ledger import grants
from billing.models import Credit
from ecohash.signup import create_account, remove_unverified
from ecohash.signup import sign_up as sign_up_user
from tests.accounts.entrance import PASSWORD, WRONG, join, sign_in, sign_up
from tests.at_once import at_once
from tests.cast import Person
from tests.mails import sent

HASHED: list[str] = []


class CountingHasher(MD5PasswordHasher):
    """Writes down that a password was hashed, which is what costs the time."""

    algorithm = "counting"

    def encode(self, password, salt):
        HASHED.append(password)
        return super().encode(password, salt)


@pytest.fixture
def hashed(alice: Person, settings) -> list[str]:
    """A note for each password that is hashed; Alice has one of her own."""
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    alice.user.set_password(PASSWORD)
    alice.user.save()
    HASHED.clear()
    return HASHED


def answer_to(path: str, form: dict[str, str]) -> tuple[int, dict[str, str], str, set[str]]:
    """Status, headers, text and names of cookies, without what is new in each answer."""
    client = Client()
    answer = client.post(path, form, follow=False)
    new_each_time = {"x-request-id", "Expires"}
    headers = {name: value for name, value in answer.items() if name not in new_each_time}
    page = answer.content.decode()
    if answer.status_code == 302:
        page = client.get(answer["Location"]).content.decode()
    page = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page)
    return answer.status_code, headers, page.replace(form_email(form), ""), set(client.cookies)


def form_email(form: dict[str, str]) -> str:
    return form.get("email") or form["login"]


@pytest.mark.parametrize(
    ("path", "name", "more", "mails"),
    [
        ("/signup", "email", {"password1": PASSWORD}, 1),
        ("/signup", "email", {"password1": "12345678"}, 0),
        ("/login", "login", {"password": WRONG}, 0),
        ("/password/reset", "email", {}, 1),
    ],
)
def test_a_known_address_and_an_unknown_one_get_the_same_work_and_answer(
    hashed: list[str], path: str, name: str, more: dict[str, str], mails: int
) -> None:
    seen = []
    for email in ("alice@example.com", "zoe99@example.com"):
        mail.outbox.clear()
        hashed.clear()
        with CaptureQueriesContext(connection) as queries:
            answer = answer_to(path, {name: email} | more)
        written = [query["sql"].split('"')[1] for query in queries if "INSERT" in query["sql"]]
        seen.append((answer, len(hashed), len(sent()), sorted(written)))
    assert seen[0] == seen[1]
    expected_hashes = 0 if path == "/password/reset" or (not mails and path == "/signup") else 1
    assert seen[0][1:3] == (expected_hashes, mails)


def test_a_taken_address_may_be_as_long_as_the_column(alice: Person) -> None:
    email = f"a@{'.'.join(['c' * 60] * 4)}.example"
    assert len(email) == 253
    create_account(email=email)
    sign_up(email)
    assert [message.subject for message in sent()] == ["You already have an account"]


class Rival:
    """Another request signs the same address up after this one found it free."""

    def get_help_text(self):
        return ""

    def validate(self, password, user=None):  # noqa: ARG002 - Django's signature
        User.objects.create(email="dora@example.com", password="!")


def test_an_address_that_is_taken_since_the_form_was_checked_gets_the_usual_answer(
    db: None, settings
) -> None:
    settings.AUTH_PASSWORD_VALIDATORS = [{"NAME": f"{__name__}.Rival"}]
    sign_up("dora@example.com")
    assert User.objects.count() == 1
    assert [message.subject for message in sent()] == ["You already have an account"]


@pytest.mark.django_db(transaction=True)
def test_two_sign_ups_of_one_address_at_once_are_one_account_and_one_answer() -> None:
    clients = at_once(*[partial(sign_up, "dora@example.com")] * 4)
    assert all(isinstance(client, Client) for client in clients), clients
    assert User.objects.filter(email="dora@example.com").count() == 1
    assert Organization.objects.count() == 1


def aged(email: str, days: int) -> User:
    joined = timezone.now() - timedelta(days=days)
    User.objects.filter(email=email).update(date_joined=joined)
    return User.objects.get(email=email)


def test_an_account_that_nobody_verified_goes_with_its_organization(db: None, settings) -> None:
    for name, days in (("old", 8), ("young", 6)):
        sign_up(f"{name}@example.com")
        aged(f"{name}@example.com", days)
    assert settings.UNVERIFIED_ACCOUNT_DAYS == 7
    assert remove_unverified() == 1
    assert [user.email for user in User.objects.all()] == ["young@example.com"]
    assert Organization.objects.count() == Membership.objects.count() == 1
    assert Credit.objects.count() == EmailAddress.objects.count() == 1
    # The address is free again.
    sign_up("old@example.com")
    assert User.objects.filter(email="old@example.com").exists()


def test_accounts_that_somebody_verified_or_made_by_hand_stay(alice: Person) -> None:
    join("dora@example.com")
    create_account(email="script@example.com")
    User.objects.create_superuser("root@example.com", PASSWORD)
    sign_up("staff@example.com")
    User.objects.filter(email="staff@example.com").update(is_staff=True)
    User.objects.update(date_joined=timezone.now() - timedelta(days=400))
    assert remove_unverified() == 0
    assert User.objects.count() == 5


def test_of_an_account_that_had_credit_before_it_was_verified_the_books_stay(db: None) -> None:
    """As earlier releases made them."""
    user = User.objects.create_user("old@example.com", PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, primary=True)
    organization = sign_up_user(user=user, trial_credit_micros=500_000)
    aged("old@example.com", 30)
    assert remove_unverified() == 1
    assert not User.objects.exists()
    organization.refresh_from_db()
    assert organization.credit.granted_micros == 500_000


def test_an_organization_that_somebody_else_belongs_to_stays(alice: Person) -> None:
    sign_up("late@example.com")
    late = aged("late@example.com", 30)
    Membership.objects.create(organization=alice.organization, user=late)
    assert remove_unverified() == 1
    assert [str(o) for o in Organization.objects.all()] == [alice.organization.name]


def test_nobody_signs_in_to_what_was_removed(db: None) -> None:
    sign_up("old@example.com")
    aged("old@example.com", 30)
    remove_unverified()
    assert not sign_in("old@example.com", PASSWORD)[0]


def test_credit_at_sign_up_is_called_what_the_ledger_knows(alice: Person) -> None:
    """Entries of earlier releases are found by these words."""
    assert grants.TRIAL_REASON == "Trial credit at sign-up"
