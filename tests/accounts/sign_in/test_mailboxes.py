"""Which addresses are one mailbox, and how often a stranger can make us write to it."""

import re
from functools import partial
from typing import Any

import pytest
from django.test import Client

from accounts.limits import redis_buckets
from accounts.models import User
from accounts.sign_in import mailboxes
from tests.accounts.entrance import PASSWORD, sign_in, sign_up
from tests.at_once import at_once
from tests.cast import Person
from tests.mails import sent


@pytest.mark.parametrize(
    ("address", "mailbox"),
    [
        ("john@example.com", "john@example.com"),
        ("John+1@Example.COM", "john@example.com"),
        ("j.o.h.n@example.com", "j.o.h.n@example.com"),
        ("j.o.h.n+x@gmail.com", "john@gmail.com"),
        ("John@GoogleMail.com", "john@gmail.com"),
        ("john+a+b@outlook.com", "john@outlook.com"),
        ("j.oh-n@pm.me", "john@proton.me"),
        ("john-shop@yahoo.com", "john@yahoo.com"),
        ("john-shop@example.com", "john-shop@example.com"),
        ("anything@john.fastmail.com", "john@fastmail.com"),
        ("john+x@fastmail.fm", "john@fastmail.com"),
        ("john@mac.com", "john@icloud.com"),
        ("jo-hn@ya.ru", "john@yandex.ru"),
        ("john@BÜCHER.example", "john@xn--bcher-kva.example"),
        ("john@xn--bcher-kva.example", "john@xn--bcher-kva.example"),
        ("\uff4aohn@example.com", "john@example.com"),
        ('"john+1"@example.com', "john@example.com"),
        ("+john@example.com", "+john@example.com"),
        ("...@gmail.com", "...@gmail.com"),
        ("john@" + "a" * 70 + ".com", "john@" + "a" * 70 + ".com"),
        ("no address", "no address"),
    ],
)
def test_addresses_of_one_mailbox_have_one_spelling(address: str, mailbox: str) -> None:
    assert mailboxes.canonical(address) == mailbox


def test_a_mailbox_is_remembered_by_a_digest_of_each_pepper(settings) -> None:
    settings.KEY_PEPPERS = {1: "old" * 20, 2: "new" * 20}
    newest, older = mailboxes.digests("john@example.com")
    settings.KEY_PEPPERS = {1: "old" * 20}
    assert mailboxes.digests("JOHN+1@example.com") == [older]
    assert len(newest) == 64
    assert "john" not in newest + older


def passed(seconds: float) -> None:
    """As if that much time had passed."""
    redis = redis_buckets.client()
    for key in redis.keys(f"{redis_buckets.KEY}*"):
        redis.set(key, int(redis.get(key)) - int(seconds * 1_000_000), keepttl=True)


def reset(email: str, *, client: Client | None = None) -> tuple[int, str]:
    answer = (client or Client()).post("/password/reset", {"email": email})
    return answer.status_code, answer["Location"]


def test_ten_resets_are_one_mail_and_ten_equal_answers(alice: Person) -> None:
    answers = {reset(alice.user.email) for _ in range(10)}
    assert answers == {(302, "/password/reset/sent")}
    assert len(sent()) == 1
    page = Client().get("/password/reset/sent").content.decode()
    assert "Check your spam folder and wait a few minutes" in page


def test_an_address_without_an_account_gets_as_few(db: None) -> None:
    assert {reset("stranger@example.com") for _ in range(10)} == {(302, "/password/reset/sent")}
    assert len(sent()) == 1


def test_tags_of_one_mailbox_are_counted_together(db: None) -> None:
    for number in range(10):
        reset(f"stranger+{number}@gmail.com")
        sign_up(f"st.ranger+{number}@googlemail.com")
    assert sorted(message.subject for message in sent()) == [
        "There is no account with this address",
        "Verify your e-mail address",
    ]


def test_sign_ups_with_a_taken_address_are_one_mail(alice: Person) -> None:
    for _ in range(10):
        sign_up(alice.user.email)
    assert [message.subject for message in sent()] == ["You already have an account"]


def test_sign_ins_before_the_address_is_verified_are_no_further_mail(db: None) -> None:
    sign_up("dora@example.com")
    for _ in range(5):
        assert sign_in("dora@example.com", PASSWORD)[0]
    assert len(sent()) == 1
    passed(61)
    sign_in("dora@example.com", PASSWORD)
    assert len(sent()) == 2


def test_an_address_added_to_an_account_gets_as_few(alice: Person) -> None:
    client = Client()
    client.force_login(alice.user, "allauth.account.auth_backends.AuthenticationBackend")
    for number in range(5):
        form = {"email": f"stranger+{number}@example.com", "action_add": ""}
        client.post("/account/email", form)
        form = {"email": f"stranger+{number}@example.com", "action_send": ""}
        client.post("/account/email", form)
    assert len(sent()) == 1


def test_a_mailbox_gets_five_of_a_kind_in_an_hour_and_sixteen_in_a_day() -> None:
    sent = []
    for _ in range(24):
        for _ in range(20):
            sent.append(mailboxes.count_mail("a@example.com", kind="reset", known=False))
            passed(180)
    assert sum(sent[:20]) == 5
    assert 14 <= sum(sent) <= 16


def test_a_stranger_does_not_use_up_the_owners_mails(alice: Person) -> None:
    alice.user.set_password(PASSWORD)
    alice.user.save()
    owner = Client()
    sign_in(alice.user.email, PASSWORD, client=owner)
    owner.post("/logout")
    for _ in range(3):
        reset(alice.user.email)
    assert len(sent()) == 1
    for _ in range(3):
        reset(alice.user.email, client=owner)
    assert len(sent()) == 2


@pytest.mark.django_db(transaction=True)
def test_ten_at_once_are_one_mail(alice: Person) -> None:
    assert at_once(*[partial(reset, alice.user.email)] * 10) == [(302, "/password/reset/sent")] * 10
    assert len(sent()) == 1


FORGED: Any = {"HTTP_HOST": "localhost:1234", "HTTP_X_FORWARDED_HOST": "evil.example"}


def test_links_in_mails_follow_base_url_whatever_the_host_header_says(
    alice: Person, settings
) -> None:
    settings.BASE_URL = "https://images.example"
    client = Client()
    client.post("/signup", {"email": "dora@example.com", "password1": PASSWORD}, **FORGED)
    client.post("/signup", {"email": alice.user.email, "password1": PASSWORD}, **FORGED)
    client.post("/password/reset", {"email": alice.user.email}, **FORGED)
    client.post("/password/reset", {"email": "nobody@example.com"}, **FORGED)
    assert User.objects.filter(email="dora@example.com").exists()
    texts = [str(message.body) for message in sent()]
    links = [link for text in texts for link in re.findall(r"https?://\S+", text)]
    assert len(texts) == 4
    assert len(links) == 4 + 5
    assert all(link.startswith("https://images.example") for link in links), links
    assert not [text for text in texts if "1234" in text or "evil" in text]
