"""After a mail was written: the page says what to do, offers to send it again, and tells nobody anything."""

import re

import pytest
from django.test import Client

from accounts.models import User
from accounts.sign_in import check_inbox
from accounts.sign_in.check_inbox import ON_ITS_WAY
from tests.accounts.entrance import PASSWORD, link_in_mail, sign_in, sign_up
from tests.accounts.sign_in.test_mailboxes import passed
from tests.cast import Person
from tests.mails import sent

BUTTON = "Send it again"


def page_of(client: Client, path: str) -> str:
    return re.sub(r'value="\w{64}"', "", client.get(path).content.decode())


def send_again(client: Client) -> str:
    answer = client.post("/verify-email")
    assert (answer.status_code, answer["Location"]) == (302, "/verify-email")
    return page_of(client, "/verify-email")


@pytest.mark.parametrize("email", ["dora@example.com", "alice@example.com"])
def test_a_sign_up_can_have_its_mail_sent_again(alice: Person, email: str) -> None:
    client = sign_up(email)
    page = page_of(client, "/verify-email")
    assert BUTTON in page and "Check your spam folder" in page and "may take a moment" in page
    assert ON_ITS_WAY not in page
    passed(61)
    assert ON_ITS_WAY in send_again(client)
    assert [message.to for message in sent()] == [[email]] * 2
    assert len({message.subject for message in sent()}) == 1


def test_the_page_is_the_same_for_known_and_unknown_addresses_and_whether_one_was_sent(
    alice: Person,
) -> None:
    pages = set()
    for email in ("dora@example.com", "alice@example.com"):
        client = sign_up(email)
        pages |= {send_again(client) for _ in range(3)}
    assert len(pages) == 1
    assert len(sent()) == 2


def test_a_mailbox_gets_no_more_of_them_than_of_sign_ups(db: None) -> None:
    client = sign_up("dora@example.com")
    for _ in range(12):
        passed(61)
        send_again(client)
    assert len(sent()) == 3


def test_the_link_that_was_sent_again_verifies_and_signs_in(db: None) -> None:
    client = sign_up("dora@example.com")
    passed(61)
    send_again(client)
    assert len(sent()) == 2
    assert client.post(link_in_mail())["Location"] == "/dashboard"


def test_a_sign_in_before_the_address_is_verified_can_too(db: None) -> None:
    sign_up("dora@example.com")
    client = Client()
    passed(61)
    assert sign_in("dora@example.com", PASSWORD, client=client)[0]
    passed(61)
    send_again(client)
    assert len(sent()) == 3


def test_an_address_that_was_verified_elsewhere_gets_no_further_mail(db: None) -> None:
    client = sign_up("dora@example.com")
    assert sent()
    Client().post(link_in_mail())
    passed(61)
    assert ON_ITS_WAY in send_again(client)
    assert len(sent()) == 1


def test_a_browser_that_waits_for_nothing_is_asked_to_sign_in(db: None) -> None:
    client = Client()
    page = page_of(client, "/verify-email")
    assert BUTTON not in page and "Sign in to get a new link" in page
    answer = client.post("/verify-email")
    assert (answer.status_code, answer["Location"]) == (302, "/login")
    assert check_inbox.SIGN_IN_FIRST in page_of(client, "/login")
    assert not sent()


def test_the_button_has_a_limit_for_each_network(db: None) -> None:
    client = sign_up("dora@example.com")
    statuses = [client.post("/verify-email").status_code for _ in range(21)]
    assert statuses == [302] * 20 + [429]


@pytest.mark.parametrize("email", ["alice@example.com", "nobody@example.com"])
def test_a_reset_can_be_sent_again_without_typing_the_address(alice: Person, email: str) -> None:
    client = Client()
    client.post("/password/reset", {"email": email})
    page = page_of(client, "/password/reset/sent")
    assert f'name="email" value="{email}"' in page and BUTTON in page
    assert ON_ITS_WAY not in page
    passed(61)
    assert client.post("/password/reset", {"email": email}).status_code == 302
    assert ON_ITS_WAY in page_of(client, "/password/reset/sent")
    assert [message.to for message in sent()] == [[email]] * 2


def test_the_reset_page_without_an_address_offers_the_form(db: None) -> None:
    page = page_of(Client(), "/password/reset/sent")
    assert BUTTON not in page and "your address" in page


def test_an_address_in_the_page_is_escaped_and_forgotten_within_an_hour(db: None) -> None:
    client = Client()
    client.post("/password/reset", {"email": '"<b>"@example.com'})
    assert "<b>" not in page_of(client, "/password/reset/sent")
    assert client.session.get_expiry_age() <= check_inbox.RESET_ADDRESS_SECONDS


def test_a_sign_in_after_the_reset_lasts_as_long_as_any(alice: Person) -> None:
    alice.user.set_password(PASSWORD)
    alice.user.save()
    client = Client()
    client.post("/password/reset", {"email": alice.user.email})
    assert sign_in(alice.user.email, PASSWORD, client=client)[0]
    assert client.session.get_expiry_age() > 24 * 3600
    assert User.objects.filter(last_login__isnull=False).exists()
