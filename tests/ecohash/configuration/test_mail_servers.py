"""EMAIL_URL in the forms that providers give, and what is said of those that cannot be."""

import os
from collections.abc import Iterator

import pytest

from ecohash.configuration import checks, environment
from ecohash.configuration.mail_servers import MailServer, mail_server


@pytest.fixture(autouse=True)
def _no_mistakes() -> Iterator[None]:
    environment.mistakes.clear()
    yield
    environment.mistakes.clear()


def read(monkeypatch: pytest.MonkeyPatch, text: str) -> MailServer | None:
    monkeypatch.setitem(os.environ, "EMAIL_URL", text)
    return mail_server("EMAIL_URL")


@pytest.mark.parametrize(
    ("text", "port", "starttls", "implicit"),
    [
        ("smtps://u:p@mail:465", 465, False, True),
        ("smtps://u:p@mail", 465, False, True),
        ("smtp+ssl://u:p@mail", 465, False, True),
        ("smtps://u:p@mail:2465", 2465, False, True),
        ("smtp+tls://u:p@mail:587", 587, True, False),
        ("smtp+tls://u:p@mail", 587, True, False),
        ("smtp://mail", 25, False, False),
        ("smtp://mail/", 25, False, False),
    ],
)
def test_the_scheme_says_how_the_connection_is_encrypted(
    monkeypatch: pytest.MonkeyPatch, text: str, port: int, *, starttls: bool, implicit: bool
) -> None:
    server = read(monkeypatch, text)
    assert server and not environment.mistakes
    assert (server.host, server.port) == ("mail", port)
    assert (server.starttls, server.implicit_tls) == (starttls, implicit)


@pytest.mark.parametrize(
    ("text", "user", "password", "host"),
    [
        ("smtps://a%40b.com:p%2Fs%3A%25+w@mail", "a@b.com", "p/s:%+w", "mail"),
        ("smtp+tls://apikey:SG.x_y-z@[2001:db8::1]:587", "apikey", "SG.x_y-z", "2001:db8::1"),
        ("smtp://localhost:1025", "", "", "localhost"),
    ],
)
def test_user_password_and_host_are_read_as_they_were_meant(
    monkeypatch: pytest.MonkeyPatch, text: str, user: str, password: str, host: str
) -> None:
    server = read(monkeypatch, text)
    assert server
    assert (server.user, server.password, server.host) == (user, password, host)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("smtps://u:p@mail?timeout=5", "no options"),
        ("smtps://u:s?cret@mail", "percent-encoded"),
        ("smtps://u:p@mail/inbox", "no path"),
        ("smtps://u@mail", "both user and password"),
        ("smtps://:p@mail", "both user and password"),
        ("smtps://u:p@mail:no", "percent-encoded"),
        ("tls://mail", "begins with smtp+tls:// or smtps://"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake_without_the_value(
    monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    assert read(monkeypatch, text) is None
    [mistake] = environment.mistakes
    assert mistake.startswith("EMAIL_URL ") and words in mistake
    assert "cret" not in mistake


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("smtp://u:p@mail:465", "begin EMAIL_URL with smtps://"),
        ("smtp+tls://u:p@mail:465", "begin EMAIL_URL with smtps://"),
        ("smtps://u:p@mail:587", "begin EMAIL_URL with smtp+tls://"),
        ("smtp://u:p@mail:2525", "in the open"),
        ("smtp://u:p@localhost:2525", ""),
        ("smtp://mail", ""),
        ("smtps://u:p@mail:2465", ""),
    ],
)
def test_a_port_that_hardly_fits_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, settings, text: str, words: str
) -> None:
    settings.MAIL_SERVER = read(monkeypatch, text)
    warnings = checks.mail_server()
    assert [(each.id, words in each.msg) for each in warnings] == [("ecohash.W003", True)] * bool(
        words
    )
