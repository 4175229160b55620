"""Whose address a call has, behind proxies that are trusted and proxies that are not."""

from ipaddress import ip_address

import pytest
from allauth.account.adapter import get_adapter
from django.test import RequestFactory

from accounts.http.addresses import caller_address, is_within, network_of, parse_address

PEER = "10.0.0.1"


def address(forwarded: str | None, peer: str = PEER) -> str | None:
    meta = {"REMOTE_ADDR": peer}
    if forwarded is not None:
        meta["HTTP_X_FORWARDED_FOR"] = forwarded
    found = caller_address(meta)
    return str(found) if found else None


@pytest.mark.parametrize("forwarded", [None, "", "203.0.113.1", "203.0.113.1, 203.0.113.2"])
def test_without_trusted_proxies_the_header_counts_for_nothing(forwarded: str | None) -> None:
    assert address(forwarded) == PEER


@pytest.mark.parametrize(
    ("proxies", "expected"), [(1, "203.0.113.3"), (2, "203.0.113.2"), (3, "203.0.113.1"), (4, PEER)]
)
def test_the_caller_stands_at_the_place_of_the_outermost_trusted_proxy(
    settings, proxies: int, expected: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    assert address("203.0.113.1, 203.0.113.2 ,203.0.113.3") == expected


@pytest.mark.parametrize(
    "forwarded",
    [
        None,
        "",
        " ",
        ",",
        "unknown",
        "_hidden",
        "1.2.3",
        "<script>",
        "999.1.1.1",
        "é",
        "203.0.113.1, unknown",
        "203.0.113.1, _SEVKISEK",
        "203.0.113.1,",
        "203.0.113.1, unix:",
        "010.0.0.1",
        "for=203.0.113.1",
        "[2001:db8::1",
        "[203.0.113.1]x",
    ],
)
def test_what_is_no_address_leaves_the_peer(settings, forwarded: str | None) -> None:
    settings.TRUSTED_PROXIES = 1
    assert address(forwarded) == PEER


def test_a_negative_number_of_proxies_trusts_none(settings) -> None:
    settings.TRUSTED_PROXIES = -1
    assert address("203.0.113.1") == PEER


@pytest.mark.parametrize("peer", ["", "/run/ecohash.sock", "unix:"])
def test_a_unix_socket_has_no_address(peer: str) -> None:
    assert address(None, peer) is None
    assert caller_address({}) is None


def test_a_proxy_on_a_unix_socket_still_says_who_called(settings) -> None:
    settings.TRUSTED_PROXIES = 1
    assert address("203.0.113.1", "") == "203.0.113.1"
    assert address("junk", "") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("203.0.113.1:51234", "203.0.113.1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("[::ffff:203.0.113.1]:80", "203.0.113.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:443", "fe80::1"),
        ("::FFFF:CB00:7101", "203.0.113.1"),
        (" 203.0.113.1 ", "203.0.113.1"),
    ],
)
def test_one_address_has_one_spelling(text: str, expected: str) -> None:
    assert str(parse_address(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
    ],
)
def test_neighbors_are_counted_together(text: str, expected: str) -> None:
    assert network_of(ip_address(text)) == expected
    assert network_of(None) == "unknown"


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("203.0.113.1", ["203.0.113.0/24"]),
        ("203.0.113.1", ["203.0.113.1"]),
        ("203.0.113.1", ["203.0.113.9/24"]),
        ("203.0.113.1", ["2001:db8::/32", "203.0.113.0/24"]),
        ("2001:db8::5", ["2001:db8::/32"]),
    ],
)
def test_an_address_within_one_of_the_networks(text: str, networks: list[str]) -> None:
    assert is_within(ip_address(text), networks)
    assert not is_within(None, networks)


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("203.0.114.1", ["203.0.113.0/24"]),
        ("2001:db8::5", ["0.0.0.0/0"]),
        ("203.0.113.1", ["office", "203.0.113.0/99", ""]),
        ("203.0.113.1", []),
    ],
)
def test_an_address_outside_of_them(text: str, networks: list[str]) -> None:
    assert not is_within(ip_address(text), networks)


@pytest.mark.parametrize(
    "forwarded",
    [
        "203.0.113.9, [2001:DB8::1]:443",
        "203.0.113.9, 203.0.113.1:51234",
        "203.0.113.9, ::ffff:203.0.113.1",
        "203.0.113.9, fe80::1%eth0",
        "203.0.113.9, unknown",
        "203.0.113.9,",
        "",
    ],
)
@pytest.mark.parametrize("proxies", [0, 1, 3])
def test_pages_and_the_api_see_the_same_address(settings, forwarded: str, proxies: int) -> None:
    """allauth's own rule knows neither ports nor mapped addresses, and fails where a header is too short."""
    settings.TRUSTED_PROXIES = proxies
    request = RequestFactory().get("/login", REMOTE_ADDR=PEER, HTTP_X_FORWARDED_FOR=forwarded)
    assert get_adapter().get_client_ip(request) == address(forwarded)


def test_a_caller_without_an_address_is_no_fault() -> None:
    request = RequestFactory().get("/login", REMOTE_ADDR="")
    assert get_adapter().get_client_ip(request) == "unknown"
