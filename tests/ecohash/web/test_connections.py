"""What one connection may use up: a head's bytes, a thread's patience, a place among its address's others."""

import random
import socket
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from django.test import override_settings
from gunicorn.http.errors import LimitRequestHeaders

from ecohash.web import connections
from ecohash.web.connections import (
    HEAD_BYTES,
    HELD_BODY_BYTES,
    Connection,
    ConnectionsByAddress,
    ConnectionSocket,
)

HEAD = b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"


@pytest.fixture
def ends() -> Iterator[tuple[ConnectionSocket, socket.socket]]:
    """(the server's end, the peer's end)"""
    ours, theirs = socket.socketpair()
    line = ConnectionSocket(ours.family, ours.type, ours.proto, fileno=ours.detach())
    line.settimeout(0)
    with line, theirs:
        yield line, theirs


Ends = tuple[ConnectionSocket, socket.socket]


@cache
def config() -> Any:
    """gunicorn's own defaults. It takes the empty WEB_CONCURRENCY of a test run for a number."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WEB_CONCURRENCY", "1")
        from gunicorn.config import Config
    return Config()


def connection_of(
    line: ConnectionSocket, received: bytes = b"", client: Any = ("192.0.2.7", 4)
) -> Connection:
    connection = Connection(config(), line, client, ("127.0.0.1", 8000))
    connection.head += received
    return connection


def parsed(connection: Connection) -> Any:
    """The request, as a thread gets it."""
    connection.sock.begin_request(lambda: None)
    connection.feed_parser()
    request = next(connection.parser)
    connection.source.has_head = True
    return request


def test_a_head_is_complete_with_its_empty_line_however_it_comes(ends: Ends) -> None:
    connection = connection_of(ends[0])
    for byte in HEAD[:-1]:
        connection.head.append(byte)
        assert not connection.head_is_complete()
    connection.head += HEAD[-1:] + b"body"
    assert connection.head_is_complete()


@pytest.mark.parametrize("received", [b"GET /\n", b"\n", b"GET / HTTP/1.1\r\nHost: a\nb"])
def test_a_line_feed_alone_is_not_waited_for(ends: Ends, received: bytes) -> None:
    assert connection_of(ends[0], received).head_is_complete()


@pytest.mark.parametrize(
    "received",
    [b"GET /\r\n", b"\x16\x03\x01", b"\x80", b"SSH-2.0-OpenSSH_9.6\r\n", b"GET / HTTP/x\r\n"],
)
def test_what_cannot_become_http_is_not_waited_for(ends: Ends, received: bytes) -> None:
    assert connection_of(ends[0], received).head_is_complete()


@pytest.mark.parametrize(
    "received", [b"G", b"GET / HTTP/1.1\r\n", b"\r\nGET /", b"\r", b"GET / \xc3"]
)
def test_what_may_become_http_is_waited_for(ends: Ends, received: bytes) -> None:
    assert not connection_of(ends[0], received).head_is_complete()


def test_a_head_without_end_is_refused_once_it_is_large(ends: Ends) -> None:
    connection = connection_of(ends[0], b"GET / HTTP/1.1\r\nA: " + b"a" * HEAD_BYTES)
    assert connection.head_is_complete()
    with pytest.raises(LimitRequestHeaders):
        parsed(connection)


@pytest.mark.parametrize(
    ("fields", "body", "arrived"),
    [
        ("", b"", True),
        ("Content-Length: 4", b"", False),
        ("content-length:  4 ", b"012", False),
        ("Content-Length: 4", b"0123GET /next", True),
        ("Content-Length: four", b"", True),
        ("Content-Length: 999999999", b"x" * HELD_BODY_BYTES, True),
        ("Content-Length: 4\r\nExpect: 100-continue", b"", True),
        ("Transfer-Encoding: chunked", b"4\r\n0123\r\n", False),
        ("Transfer-Encoding: chunked", b"4\r\n0123\r\n0\r\n\r\n", True),
        ("Transfer-Encoding: chunked", b"4\r\n0123\r\n0\r\nX-Sum: 1\r\n", False),
        ("Transfer-Encoding: chunked", b"4\r\n0123\r\n0\r\nX-Sum: 1\r\n\r\n", True),
    ],
)
def test_a_thread_gets_a_request_with_its_body(
    ends: Ends, fields: str, body: bytes, *, arrived: bool
) -> None:
    head = f"POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n" if fields else "GET / HTTP/1.1\r\n\r\n"
    connection = connection_of(ends[0], head.encode() + body)
    assert connection.head_is_complete()
    assert connection.body_has_arrived() is arrived


def test_a_body_that_has_arrived_leaves_the_connection_open(ends: Ends) -> None:
    connection = connection_of(ends[0], HEAD + b"0123")
    request = parsed(connection)
    ends[1].sendall(b"456789GET /next")
    assert not request.should_close()
    connection.take_leftover()
    assert connection.head == b"GET /next"


def test_a_body_that_has_not_arrived_closes_it_and_is_not_waited_for(ends: Ends) -> None:
    request = parsed(connection_of(ends[0], HEAD + b"0123"))
    assert request.should_close()
    assert ends[0].seconds_waited == 0


def test_a_large_body_that_nobody_reads_closes_it(ends: Ends) -> None:
    size = connections.SKIPPED_BODY_BYTES + 20_000
    head = HEAD.replace(b": 10", b": %d" % size)
    assert parsed(connection_of(ends[0], head + b"a" * size)).should_close()


def test_a_trickle_of_a_body_ends_with_the_patience(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time; it is all of the waiting that counts."""
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.3)
    request = parsed(connection_of(ends[0], HEAD.replace(b": 10", b": 1000")))
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.02):
            ends[1].send(b".")

    peer = threading.Thread(target=drip)
    peer.start()
    with pytest.raises(TimeoutError):
        request.body.read(1_000)
    over.set()
    peer.join()
    assert request.should_close()


def test_a_reader_who_stops_ends_with_the_patience_and_is_told_of_once(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(connections, "SLOWEST_BYTES_PER_SECOND", 10**9)
    monkeypatch.setattr(connections, "BLOCKED_AFTER_SECONDS", 0.01)
    told: list[bool] = []
    ends[0].begin_request(lambda: told.append(ends[0].is_waiting))
    with pytest.raises(TimeoutError):
        ends[0].sendall(b"a" * 10_000_000)
    assert told == [True]
    assert not ends[0].is_waiting


def test_an_answer_has_more_patience_the_larger_it_is(ends: Ends) -> None:
    ends[0].begin_request(lambda: None)
    ends[0].sendall(b"a" * 1_000)
    before = ends[0].seconds_left
    ends[0].sendall(b"a" * connections.SLOWEST_BYTES_PER_SECOND)
    assert ends[0].seconds_left > before


def test_a_file_goes_out_from_its_place_and_no_further(ends: Ends) -> None:
    ends[0].begin_request(lambda: None)
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.flush()
        assert ends[0].sendfile(file, offset=2, count=3) == 3
        assert ends[0].sendfile(file, offset=5, count=100) == 5
    assert ends[1].recv(100) == b"23456789"


def test_the_caller_stands_behind_the_proxies_that_we_trust(ends: Ends) -> None:
    head = HEAD.replace(
        b"\r\n\r\n", b"\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n\r\n"
    )
    connection = connection_of(ends[0], head)
    parsed(connection)
    assert connection.peer == connection.caller_network() == "192.0.2.7"
    with override_settings(TRUSTED_PROXIES=1):
        assert connection.caller_network() == "10.0.0.2"
    with override_settings(TRUSTED_PROXIES=2):
        assert connection.caller_network() == "10.0.0.1"


@pytest.mark.parametrize(
    ("client", "peer"),
    [(("2001:db8::1:2:3:4", 1, 0, 0), "2001:db8::/64"), ("", "unknown"), (b"", "unknown")],
)
def test_addresses_are_counted_as_everywhere(ends: Ends, client: Any, peer: str) -> None:
    assert connection_of(ends[0], client=client).peer == peer


def several(count: int) -> list[Any]:
    return [object() for _ in range(count)]


def test_beyond_the_limit_of_an_address_its_oldest_goes() -> None:
    counted, connections = ConnectionsByAddress(2, 1.0), several(5)
    for moment, connection in enumerate(connections):
        counted.add(connection, "a", float(moment))
    assert list(counted.pop_surplus(100)) == connections[:3]
    assert list(counted.pop_surplus(100)) == []
    assert len(counted) == 2


def test_nobody_goes_for_the_address_before_the_grace_is_over() -> None:
    counted, connections = ConnectionsByAddress(1, 2.0), several(3)
    for moment, connection in enumerate(connections):
        counted.add(connection, "a", float(moment))
    assert list(counted.pop_surplus(1.9)) == []
    assert list(counted.pop_surplus(2.5)) == connections[:1]


def test_of_all_the_oldest_of_the_fullest_address_goes() -> None:
    """Compared with counting anew each time, over random arrivals and departures."""
    chance = random.Random(4)
    counted = ConnectionsByAddress(10**6, 0)
    there: dict[str, list[Any]] = {}
    for moment in range(3_000):
        address = chance.choice("abcdef")
        if chance.random() < 0.6:
            connection = object()
            counted.add(connection, address, float(moment))  # type: ignore[arg-type]
            there.setdefault(address, []).append(connection)
        elif there.get(address):
            counted.discard(there[address].pop(chance.randrange(len(there[address]))))
        elif any(there.values()):
            most = max(map(len, there.values()))
            found: Any = counted.pop()
            owner = next(name for name, group in there.items() if found in group)
            assert len(there[owner]) == most
            assert there[owner].pop(0) is found
    assert len(counted) == sum(map(len, there.values()))


def test_from_an_empty_crowd_nobody_goes() -> None:
    with pytest.raises(KeyError):
        ConnectionsByAddress(1, 0).pop()
