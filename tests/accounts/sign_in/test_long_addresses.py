"""Nothing that somebody types or pastes is cut: not by a library, not by the browser."""

import re
from functools import partial

import pytest
from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.forms import KeyForm
from accounts.models import EMAIL_LIMIT, User
from accounts.sign_in.form_limits import TEXT_LIMIT
from ecohash.signup import create_account
from images.pages.forms import PlaygroundForm
from tests.accounts.entrance import PASSWORD
from tests.cast import Person
from tests.mails import sent


def address(length: int, letter: str = "c") -> str:
    """An address of so many characters."""
    domain = ".".join([letter * 55] * 3) + ".example"
    return f"{'a' * (length - len(domain) - 1)}@{domain}"


# The last one has 254 characters, and 419 in lower case.
TOO_LONG = [address(255), address(262), address(400), address(EMAIL_LIMIT, "İ")]
each_too_long = pytest.mark.parametrize("email", TOO_LONG, ids=["255", "262", "400", "lower"])


def errors(page: str) -> list[str]:
    return re.findall(r'<p class="error"[^>]*>([^<]*)<', page)


@each_too_long
@pytest.mark.parametrize(
    ("path", "name"), [("/signup", "email"), ("/login", "login"), ("/password/reset", "email")]
)
def test_an_address_that_is_too_long_is_refused_by_each_form(
    db: None, path: str, name: str, email: str
) -> None:
    form = {name: email, "password": PASSWORD, "password1": PASSWORD}
    answer = Client().post(path, form)
    assert answer.status_code == 200
    assert errors(answer.content.decode())[-1].startswith("At most 254 characters; this has ")
    assert not User.objects.exists() and not sent()


@each_too_long
def test_such_an_address_is_added_to_no_account(alice: Person, email: str) -> None:
    client = Client()
    client.force_login(alice.user, "allauth.account.auth_backends.AuthenticationBackend")
    answer = client.post("/account/email", {"email": email, "action_add": ""})
    assert errors(answer.content.decode())[-1].startswith("At most 254 characters; this has ")
    assert not EmailAddress.objects.filter(user=alice.user, verified=False).exists()


@each_too_long
def test_neither_an_operator_nor_a_command_makes_such_an_account(db: None, email: str) -> None:
    with pytest.raises(ValidationError):
        create_account(email=email)
    with pytest.raises(ValidationError):
        User.objects.create_superuser(email, PASSWORD)
    assert not User.objects.exists()


def test_an_address_as_long_as_the_column_is_kept_whole(db: None) -> None:
    email = address(EMAIL_LIMIT)
    assert Client().post("/signup", {"email": email, "password1": PASSWORD}).status_code == 302
    assert User.objects.get().email == email
    assert [message.to for message in sent()] == [[email]]


@pytest.mark.parametrize("path", ["/signup", "/login", "/password/reset"])
def test_no_browser_cuts_what_is_pasted_into_a_form_of_accounts(db: None, path: str) -> None:
    assert "maxlength" not in Client().get(path).content.decode()


def test_no_browser_cuts_a_prompt_or_the_name_of_a_key(alice: Person) -> None:
    of_alice = partial(KeyForm, organization=alice.organization)
    assert "maxlength" not in PlaygroundForm().as_p() + of_alice().as_p()
    told = of_alice({"name": "n" * 101}).errors["name"]
    assert told == ["A name has at most 100 characters; this has 101."]


def test_a_password_is_refused_and_not_cut(db: None) -> None:
    form = {"email": "dora@example.com", "password1": "p" * (TEXT_LIMIT + 1)}
    page = Client().post("/signup", form).content.decode()
    assert errors(page) == [f"At most {TEXT_LIMIT} characters; this has {TEXT_LIMIT + 1}."]
