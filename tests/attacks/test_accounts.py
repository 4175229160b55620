"""Strangers at the doors of accounts: guessers, senders of mails, collectors of trial credit, forgers of links."""

import http.client
import json
import re
import urllib.parse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from email.policy import default
from functools import partial
from typing import Any

import pytest

from tests.platform import Platform

pytestmark = pytest.mark.attacks

PASSWORD = "a lighthouse in the fog"
WRONG = "a fog in the lighthouse"
TOO_MANY = "Too many failed attempts"
# What Django takes for a pair: the cookie and the field of a form that say the same.
CSRF = "c" * 32
# Links of mails that the mailbox never got, or will get in hours: an attacker waits.
LINKS = (
    "from allauth.account.models import EmailAddress as E, EmailConfirmationHMAC as C; import json; "
    "print(json.dumps([C(e).key for e in E.objects.filter(verified=False).order_by('pk')]))"
)
CREDIT = (
    "from billing.models import Credit; "
    "print(Credit.objects.filter(granted_micros__gt=0, organization__name__contains='name').count())"
)


class Visitor:
    """A browser without scripts at an address of its choice, out of those that this machine has: 127.0.0.0/8."""

    def __init__(self, platform: Platform, address: str, **headers: str) -> None:
        self.port = platform.port
        self.address = address
        self.headers = headers
        self.cookies = {"csrftoken": CSRF}
        self.location = ""

    def send(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        """(status, page). Cookies are kept and redirects are not followed."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=60, source_address=(self.address, 0)
        )
        headers = self.headers | {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
        }
        token = {"csrfmiddlewaretoken": self.cookies["csrftoken"]}
        body = urllib.parse.urlencode(form | token) if form else None
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        page = answer.read().decode()
        connection.close()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                cookie, _, held = value.partition(";")[0].partition("=")
                self.cookies[cookie] = held.strip('"')
        self.location = answer.getheader("Location") or ""
        return answer.status, page

    def sign_in(self, email: str, password: str) -> tuple[int, str]:
        return self.send("POST", "/login", {"login": email, "password": password})

    def sign_out(self) -> None:
        del self.cookies["sessionid"]

    def reset(self, email: str) -> tuple[int, str]:
        return self.send("POST", "/password/reset", {"email": email})

    def sign_up(self, email: str) -> tuple[int, str]:
        return self.send("POST", "/signup", {"email": email, "password1": PASSWORD})

    def open_link(self, key: str) -> tuple[int, str]:
        return self.send("POST", f"/verify-email/{key}", {"ok": "1"})


@pytest.fixture(scope="module")
def doors(slow_platform: Platform) -> Platform:
    return slow_platform


def at_once(calls: Sequence[Callable[[], Any]], threads: int = 16) -> list[Any]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda call: call(), calls))


def account(doors: Platform, email: str) -> dict[str, str]:
    made: dict[str, str] = json.loads(doors.manage("create_account", email, "--json").stdout)
    return made


def no_mail_waits(doors: Platform) -> bool:
    """Whether the worker has sent what was written."""
    code = "from billing.models import OutgoingMail as M; print(M.objects.filter(done_at=None).count())"
    return doors.manage("shell", "--command", code).stdout.split()[-1] == "0"


def mails_to(doors: Platform, email: str) -> list[str]:
    """The texts, the oldest first, once all mails are sent."""
    doors.wait_for(lambda: no_mail_waits(doors), "sent all mails")
    texts = []
    for path in sorted((doors.var_dir / "mail").glob("*.eml")):
        mail: Any = message_from_bytes(path.read_bytes(), policy=default)
        if mail["To"] == email:
            texts.append(mail.get_body().get_content())
    return texts


def test_guesses_from_14_networks_do_not_lock_the_owner_out(doors: Platform, full: bool) -> None:  # noqa: FBT001 - a fixture
    owner = account(doors, "owner@example.com")
    laptop = Visitor(doors, "127.113.0.1")
    assert laptop.sign_in(owner["email"], owner["password"])[0] == 302
    laptop.sign_out()
    guessers = [Visitor(doors, f"127.112.0.{n}") for n in range(1, 15)]
    guesses = [partial(one.sign_in, owner["email"], WRONG) for one in guessers]
    assert {status for status, _ in at_once(guesses * (4 if full else 1))} == {200}
    assert laptop.sign_in(owner["email"], owner["password"])[0] == 302
    phone = Visitor(doors, "127.113.0.2")
    assert phone.sign_in(owner["email"], owner["password"])[0] == 302


def test_of_30_guesses_at_once_five_are_looked_at(doors: Platform) -> None:
    """Over all web processes, and whether the account exists or not."""
    account(doors, "guessed@example.com")
    for email, address in (
        ("guessed@example.com", "127.51.100.1"),
        ("no@one.example", "127.51.100.2"),
    ):
        guesses = [partial(Visitor(doors, address).sign_in, email, WRONG)] * 30
        pages = [page for _, page in at_once(guesses, threads=30)]
        assert sum(TOO_MANY not in page for page in pages) == 5


def test_306_resets_for_invented_addresses_change_no_count(doors: Platform) -> None:
    account(doors, "victim@example.com")
    attacker = Visitor(doors, "127.51.100.10")
    for _ in range(5):
        attacker.sign_in("victim@example.com", WRONG)
    assert TOO_MANY in attacker.sign_in("victim@example.com", WRONG)[1]
    assert attacker.reset("victim@example.com") == (302, "")
    resets = [
        partial(Visitor(doors, f"127.51.{n % 18}.77").reset, f"invented{n}@example.com")
        for n in range(306)
    ]
    assert {status for status, _ in at_once(resets)} == {302}
    assert TOO_MANY in attacker.sign_in("victim@example.com", WRONG)[1]
    attacker.reset("victim@example.com")
    assert len(mails_to(doors, "victim@example.com")) == 1


def test_a_strangers_mailbox_gets_one_mail_of_ten(doors: Platform) -> None:
    account(doors, "known@example.com")
    for email in ("known@example.com", "unknown@example.com"):
        resets = [partial(Visitor(doors, f"127.51.101.{n}").reset, email) for n in range(10)]
        assert at_once(resets) == [(302, "")] * 10
        assert len(mails_to(doors, email)) == 1
    sign_ups = [
        partial(Visitor(doors, f"127.51.101.{n}").sign_up, "known@example.com") for n in range(4)
    ]
    assert at_once(sign_ups) == [(302, "")] * 4
    assert len(mails_to(doors, "known@example.com")) == 2


def test_names_of_one_mailbox_have_trial_credit_once(doors: Platform, full: bool) -> None:  # noqa: FBT001 - a fixture
    count = 60 if full else 12
    # The sign-ups of one network have a limit of their own; the credit has not even one for each of these.
    visitors = [Visitor(doors, f"127.51.{102 + n // 10}.{n % 10}") for n in range(count)]
    sign_ups = [partial(one.sign_up, f"name+{n}@example.com") for n, one in enumerate(visitors)]
    assert at_once(sign_ups) == [(302, "")] * count
    keys = json.loads(doors.manage("shell", "-v0", "-c", LINKS).stdout)
    links = [partial(one.open_link, key) for one, key in zip(visitors, keys[-count:], strict=True)]
    assert {status for status, _ in at_once(links)} == {302}
    assert int(doors.manage("shell", "-v0", "-c", CREDIT).stdout) == 1
    told = Visitor(doors, "127.51.120.1")
    pages = []
    for n in range(2):
        told.sign_in(f"name+{n}@example.com", PASSWORD)
        pages.append(told.send("GET", "/dashboard")[1])
        told.sign_out()
    assert any("your mailbox has had it before" in page for page in pages)


def test_a_forged_host_is_in_no_link_of_a_mail(doors: Platform) -> None:
    account(doors, "linked@example.com")
    forger = Visitor(
        doors, "127.51.121.1", **{"Host": "localhost:1234", "X-Forwarded-Host": "evil.example"}
    )
    assert forger.reset("linked@example.com")[0] == 302
    assert forger.reset("nobody.linked@example.com")[0] == 302
    assert forger.sign_up("linked@example.com")[0] == 302
    assert forger.sign_up("new.linked@example.com")[0] == 302
    texts = [
        text
        for name in ("linked", "nobody.linked", "new.linked")
        for text in mails_to(doors, f"{name}@example.com")
    ]
    assert len(texts) == 4
    links = [link for text in texts for link in re.findall(r"https?://\S+", text)]
    assert len(links) >= 8
    assert all(link.startswith(doors.base_url) for link in links), links
