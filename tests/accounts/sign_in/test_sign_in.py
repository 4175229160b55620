"""Who guesses a password is slowed, whatever network the guesses come from, and the owner gets in."""

import re
from collections.abc import Iterator
from functools import partial

import pytest
from allauth.account.models import EmailAddress
from django.test import Client, RequestFactory

from accounts.limits import buckets, circuits, redis_buckets
from accounts.limits.local_buckets import LocalBuckets
from accounts.models import User
from accounts.sign_in import devices, page_limits
from tests.accounts.entrance import (
    NOT_CORRECT,
    PASSWORD,
    TOO_MANY,
    WRONG,
    link_in_mail,
    sign_in,
)
from tests.at_once import at_once
from tests.cast import Person
from tests.mails import sent

EMAIL = "alice@example.com"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch) -> Iterator[None]:
    """Neither an outage nor a count of one test reaches the next."""
    monkeypatch.setattr(circuits, "redis_circuit", circuits.Circuit())
    monkeypatch.setattr(buckets, "local", LocalBuckets())
    yield
    redis_buckets.client.cache_clear()


@pytest.fixture
def owner(alice: Person) -> User:
    alice.user.set_password(PASSWORD)
    alice.user.save()
    return alice.user


@pytest.fixture
def known(owner: User) -> Client:
    """A browser in which Alice signed in once, and then out."""
    client = Client()
    assert sign_in(EMAIL, PASSWORD, address="203.0.113.9", client=client)[0]
    client.post("/logout")
    return client


def guess(count: int, *, email: str = EMAIL, each: int = 1) -> None:
    """Wrong passwords from that many networks, so many from each."""
    for number in range(count):
        for _ in range(each):
            assert not sign_in(email, WRONG, address=f"198.51.{number // 250}.{number % 250}")[0]


def test_guesses_from_14_networks_do_not_lock_the_owner_out(known: Client) -> None:
    guess(14)
    assert sign_in(EMAIL, PASSWORD, address="203.0.113.9", client=known)[0]
    assert sign_in(EMAIL, PASSWORD, address="203.0.113.80")[0]


def test_of_many_guesses_from_one_network_five_are_looked_at(owner: User) -> None:
    pages = [sign_in(EMAIL, WRONG)[1] for _ in range(8)]
    assert [NOT_CORRECT in page for page in pages] == [True] * 5 + [False] * 3
    assert [TOO_MANY in page for page in pages] == [False] * 5 + [True] * 3


@pytest.mark.django_db(transaction=True)
def test_of_30_guesses_at_once_no_more_are_looked_at(owner: User) -> None:
    pages = [page for _, page in at_once(*[partial(sign_in, EMAIL, WRONG)] * 30)]
    assert sum(NOT_CORRECT in page for page in pages) == 5
    assert sum(TOO_MANY in page for page in pages) == 25


def test_who_is_refused_learns_nothing_about_the_password(owner: User) -> None:
    guess(1, each=5)
    refused = [sign_in(EMAIL, password, address="198.51.0.0") for password in (PASSWORD, WRONG)]
    unknown = "nobody@example.com"
    guess(1, email=unknown, each=5)
    refused.append(sign_in(unknown, PASSWORD, address="198.51.0.0"))
    assert [worked for worked, _ in refused] == [False] * 3
    pages = {without_tokens(page).replace(unknown, EMAIL) for _, page in refused}
    assert len(pages) == 1
    assert TOO_MANY in pages.pop()


def without_tokens(page: str) -> str:
    return re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page)


def test_guesses_from_everywhere_close_new_devices_and_the_mail_opens_them(known: Client) -> None:
    guess(100)
    worked, page = sign_in(EMAIL, PASSWORD, address="203.0.113.80")
    assert not worked
    assert "reset your password: the link in the mail signs you in" in page
    assert sign_in(EMAIL, PASSWORD, address="203.0.113.9", client=known)[0]
    fresh = Client()
    fresh.post("/password/reset", {"email": EMAIL})
    form = fresh.get(link_in_mail())["Location"]
    answer = fresh.post(form, {"password1": "a new lighthouse", "password2": "a new lighthouse"})
    assert answer["Location"] == "/dashboard"
    assert fresh.get("/dashboard").status_code == 200
    fresh.post("/logout")
    # The browser of the reset is one that the account knows, and the guessers are no further.
    assert sign_in(EMAIL, "a new lighthouse", address="203.0.113.80", client=fresh)[0]
    assert not sign_in(EMAIL, "a new lighthouse", address="203.0.113.81")[0]


def test_a_network_that_tries_many_accounts_is_slowed(owner: User) -> None:
    for number in range(30):
        assert not sign_in(f"nobody{number}@example.com", WRONG, address="198.51.100.7")[0]
    assert TOO_MANY in sign_in(EMAIL, PASSWORD, address="198.51.100.7")[1]
    assert sign_in(EMAIL, PASSWORD, address="198.51.100.8")[0]


def test_a_64_of_ipv6_is_one_network(owner: User) -> None:
    for number in range(5):
        sign_in(EMAIL, WRONG, address=f"2001:db8:1:2:{number}::7")
    assert TOO_MANY in sign_in(EMAIL, PASSWORD, address="2001:db8:1:2:ffff::1")[1]
    assert sign_in(EMAIL, PASSWORD, address="2001:db8:1:3::1")[0]


def test_an_account_with_two_addresses_has_one_count(owner: User) -> None:
    EmailAddress.objects.create(user=owner, email="second@example.com", verified=True)
    for email in [EMAIL, "second@example.com"] * 3:
        sign_in(email, WRONG)
    assert TOO_MANY in sign_in(EMAIL, WRONG)[1]


def test_a_right_password_costs_nothing(owner: User) -> None:
    for _ in range(12):
        assert sign_in(EMAIL, PASSWORD)[0]


def test_a_stolen_cookie_guesses_no_further(known: Client) -> None:
    pages = [sign_in(EMAIL, WRONG, client=known)[1] for _ in range(17)]
    # Ten of the device, then five of its network.
    assert [NOT_CORRECT in page for page in pages] == [True] * 15 + [False] * 2
    # And the network's are counted for each network, as for any guesser.
    assert sign_in(EMAIL, PASSWORD, client=known, address="203.0.113.80")[0]


def test_a_device_keeps_its_count_through_a_sign_in(known: Client) -> None:
    for _ in range(10):
        sign_in(EMAIL, WRONG, client=known, address="203.0.113.9")
    assert sign_in(EMAIL, PASSWORD, client=known, address="203.0.113.9")[0]
    known.post("/logout")
    pages = [sign_in(EMAIL, WRONG, client=known, address="203.0.113.9")[1] for _ in range(6)]
    assert TOO_MANY in pages[-1]


def cookie(client: Client):
    return next(morsel for name, morsel in client.cookies.items() if name.startswith("device_"))


def test_a_new_password_makes_every_device_unknown_but_the_one_that_changed_it(
    owner: User, known: Client
) -> None:
    changer = Client()
    sign_in(EMAIL, PASSWORD, client=changer)
    new = {"password1": "a new lighthouse", "password2": "a new lighthouse"}
    answer = changer.post("/account/password", {"oldpassword": PASSWORD} | new)
    assert answer.status_code == 302
    changer.post("/logout")
    guess(100)
    assert not sign_in(EMAIL, "a new lighthouse", client=known, address="203.0.113.9")[0]
    assert sign_in(EMAIL, "a new lighthouse", client=changer, address="203.0.113.10")[0]


def test_a_cookie_knows_one_account(known: Client, charlie: Person, settings) -> None:
    request = type("Request", (), {"COOKIES": {n: m.value for n, m in known.cookies.items()}})()
    assert devices.name_of(request, User.objects.get(email=EMAIL))
    assert devices.name_of(request, charlie.user) is None
    request.COOKIES[devices._cookie_name(charlie.user)] = cookie(known).value
    assert devices.name_of(request, charlie.user) is None
    request.COOKIES[devices._cookie_name(charlie.user)] = "forged"
    assert devices.name_of(request, charlie.user) is None


@pytest.mark.parametrize("secure", [True, False])
def test_the_cookie_is_kept_from_scripts_and_from_open_networks(
    owner: User, settings, *, secure: bool
) -> None:
    settings.SESSION_COOKIE_SECURE = secure
    client = Client()
    sign_in(EMAIL, PASSWORD, client=client)
    morsel = cookie(client)
    assert morsel["httponly"]
    assert bool(morsel["secure"]) == secure
    assert morsel["samesite"] == "Lax"
    assert int(morsel["max-age"]) == 365 * 24 * 3600
    assert str(owner.pk) != morsel.key.removeprefix("device_")
    assert EMAIL not in morsel.value


def test_a_browser_keeps_the_cookies_of_five_accounts(owner: User) -> None:
    client = Client()
    for number in range(9):
        client.cookies[f"device_{number}"] = "x"
    sign_in(EMAIL, PASSWORD, client=client)
    kept = [name for name, morsel in client.cookies.items() if morsel.value]
    assert len([name for name in kept if name.startswith("device_")]) == 5


def test_an_old_password_is_guessed_slowly_in_a_stolen_session(owner: User) -> None:
    client = Client()
    sign_in(EMAIL, PASSWORD, client=client)
    new = {"password1": "a new lighthouse", "password2": "a new lighthouse"}
    for number in range(10):
        form = {"oldpassword": f"guess {number}"} | new
        assert client.post("/account/password", form).status_code == 200
    answer = client.post("/account/password", {"oldpassword": PASSWORD} | new)
    assert answer.status_code == 429
    assert User.objects.get(email=EMAIL).check_password(PASSWORD)


def test_while_redis_is_away_a_process_limits_by_itself(owner: User, settings) -> None:
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    redis_buckets.client.cache_clear()
    pages = [sign_in(EMAIL, WRONG)[1] for _ in range(5)]
    assert [NOT_CORRECT in page for page in pages] == [True] * 3 + [False] * 2
    # Nobody's invented accounts push the count out.
    for number in range(25):
        sign_in(f"nobody{number}@example.com", WRONG, address=f"198.51.100.{number}")
    assert TOO_MANY in sign_in(EMAIL, WRONG)[1]
    assert sign_in(EMAIL, PASSWORD, address="203.0.113.80")[0]
    client = Client()
    assert client.post("/password/reset", {"email": EMAIL}).status_code == 302
    assert len(sent()) == 1


@pytest.mark.parametrize(
    ("path", "form", "limit", "amount"),
    [
        ("/signup", {"email": "no address", "password1": "x"}, page_limits.sign_up(), 20),
        ("/login", {"login": "no address", "password": "x"}, page_limits.SIGN_IN, 60),
        ("/password/reset", {"email": "no address"}, page_limits.RESET, 20),
        ("/password/reset/key/1-x", {}, page_limits.RESET_FROM_KEY, 20),
    ],
)
def test_each_form_may_be_sent_so_often_from_one_network(
    db: None, path: str, form: dict[str, str], limit: page_limits.PageLimit, amount: int
) -> None:
    client = Client()
    assert client.post(path, form).status_code == 200
    # The others at once: some of these limits refill within seconds.
    rest = buckets.take([(limit.bucket(RequestFactory().post(path)), amount - 1)])
    assert rest.refused is None
    refused = client.post(path, form)
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) >= 1
    assert client.get(path).status_code == 200
    assert client.post(path, form, REMOTE_ADDR="192.0.2.7").status_code == 200
