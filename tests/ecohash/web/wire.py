"""Bytes through our worker's parser, gunicorn and the application, as one thread of it would handle them."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from gunicorn.glogging import Logger

from ecohash.web.connections import Connection, ConnectionSocket
from ecohash.web.worker import Worker
from ecohash.wsgi import application
from tests.recorded.exchange import connections_left_open


@dataclass(frozen=True)
class Answer:
    """What came back on the socket; `kept` is whether the worker waits for another request."""

    status: int
    headers: dict[str, str]
    body: bytes
    kept: bool

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error

    @property
    def message(self) -> str:
        message: str = self.error["message"]
        return message


def worker() -> Worker:
    """One that does not run."""
    with pytest.MonkeyPatch.context() as environment:
        # gunicorn takes the empty one of a test run for a number.
        environment.setenv("WEB_CONCURRENCY", "1")
        from gunicorn.config import Config

        config = Config()
    # As gunicorn_conf.py says; the limits are the defaults.
    config.set("forwarded_allow_ips", "")
    made = Worker(0, 0, [], None, 30, config, Logger(config))
    made.tmp.close()
    made.wsgi = application
    return made


@contextmanager
def line() -> Iterator[tuple[Connection, socket.socket, Worker]]:
    """(the server's side of a connection, the client's end, the worker)"""
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    end = ConnectionSocket(ours.family, ours.type, ours.proto, fileno=ours.detach())
    end.settimeout(0)
    with end, theirs:
        made = worker()
        yield Connection(made.cfg, end, ("192.0.2.7", 4), ("127.0.0.1", 8000)), theirs, made


def ask(sent: bytes, *, then_gone: bool = False, stopping: bool = False) -> Answer:
    """The answer to these bytes; the client may be gone behind them, and the worker may be stopping."""
    with line() as (connection, client, made), connections_left_open():
        connection.head += sent
        connection.head_is_complete()
        connection.feed_parser()
        if then_gone:
            client.shutdown(socket.SHUT_WR)
        made.alive = not stopping
        connection.sock.begin_request(lambda: None)
        kept = made.handle(connection)
        connection.sock.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(65_536), b""))
    return parsed(received, kept=kept)


def parsed(received: bytes, *, kept: bool = False) -> Answer:
    """The last answer among these bytes."""
    received = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    found = re.fullmatch(r"HTTP/1\.[01] (\d{3}) .*", first)
    assert found, received[:200]
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
    return Answer(int(found[1]), headers, body, kept)
