"""`manage.py create_account`: what scripts rely on."""

import json
from io import StringIO

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command

from accounts.keys import keys
from accounts.models import Membership, Organization, User
from billing.models import Credit, LedgerEntry

pytestmark = pytest.mark.django_db


def create(*args: str) -> str:
    out = StringIO()
    call_command("create_account", *args, stdout=out)
    return out.getvalue()


def created(*args: str) -> dict[str, str]:
    return json.loads(create(*args, "--json"))


def test_json_is_one_object_with_four_names_and_nothing_else() -> None:
    account = created("alice@example.com")
    assert set(account) == {"email", "password", "organization", "api_key"}
    assert account["email"] == "alice@example.com"


def test_the_key_works_and_belongs_to_the_organization() -> None:
    account = created("alice@example.com", "--organization", "Foxes Ltd")
    assert account["organization"] == "Foxes Ltd"
    assert keys.find(account["api_key"]).organization.name == "Foxes Ltd"


def test_the_user_owns_the_organization() -> None:
    created("alice@example.com")
    membership = Membership.objects.get()
    assert membership.user.email == "alice@example.com"
    assert membership.role == Membership.Role.OWNER


def test_the_password_works_at_once_and_the_address_counts_as_verified(client) -> None:
    account = created("alice@example.com")
    login = {"login": account["email"], "password": account["password"]}
    response = client.post("/login", login)
    assert response.status_code == 302
    assert response["Location"] == "/dashboard"
    assert EmailAddress.objects.get().verified


def test_without_an_option_the_trial_credit_is_granted(settings) -> None:
    created("alice@example.com")
    assert Credit.objects.get().granted_micros == settings.TRIAL_CREDIT_MICROS > 0


@pytest.mark.parametrize("micros", [0, 123_456])
def test_a_credit_replaces_the_trial_credit(micros: int) -> None:
    created("alice@example.com", "--credit-micros", str(micros))
    assert Credit.objects.get().granted_micros == micros
    assert LedgerEntry.objects.count() == (1 if micros else 0)


def test_limits_are_lifted_on_request_only() -> None:
    created("alice@example.com")
    created("bob@example.com", "--no-limits")
    lifted = Organization.objects.order_by("pk").values_list("limits_lifted", flat=True)
    assert list(lifted) == [False, True]


def test_staff_are_made_on_request_only() -> None:
    created("alice@example.com")
    created("bob@example.com", "--staff")
    assert list(User.objects.order_by("pk").values_list("is_staff", flat=True)) == [False, True]


@pytest.mark.parametrize("email", ["alice@example.com", "Alice@Example.COM"])
def test_an_address_that_has_an_account_is_refused(email: str) -> None:
    created("alice@example.com")
    with pytest.raises(CommandError, match="already has an account") as refused:
        created(email)
    assert refused.value.returncode == 1
    assert User.objects.count() == Organization.objects.count() == 1


@pytest.mark.parametrize("arguments", [["no address"], ["a@example.com", "--credit-micros", "-1"]])
def test_what_cannot_be_is_refused_and_leaves_nothing(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        create(*arguments)
    assert not User.objects.exists()


def test_without_json_a_person_can_read_it() -> None:
    lines = create("alice@example.com").splitlines()
    assert [line.split()[0] for line in lines] == ["email", "password", "organization", "api_key"]


@pytest.mark.parametrize(
    "words", [["x" * 245 + "@example.com"], ["dave@example.com", "--organization", "x" * 101]]
)
def test_what_no_column_holds_is_refused_in_words(db: None, words: list[str]) -> None:
    with pytest.raises(CommandError, match="at most"):
        call_command("create_account", *words)


def test_a_long_local_part_leaves_a_name_that_fits(db: None) -> None:
    call_command("create_account", "x" * 200 + "@example.com")
    name = Organization.objects.get().name
    assert len(name) == 100
    assert name.endswith("…'s organization")
