"""The web server over real sockets: what it takes, what it refuses, and how it stops."""

import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import servers

PATIENCE_SECONDS = 20
GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Server:
    """gunicorn as the platform runs it, with one process and without the rest."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)

    def answers(self, sent: bytes) -> bytes:
        """Everything that comes back until the server closes."""
        with self.connect() as line:
            line.sendall(sent)
            return b"".join(iter(lambda: line.recv(65_536), b""))

    def is_up(self) -> bool:
        assert self.process.poll() is None
        try:
            return b" 200 " in self.answers(
                GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            )
        except OSError:
            return False


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@contextmanager
def serving(folder: Path, limit_files: Callable[[], None] | None = None) -> Iterator[Server]:
    port = servers.free_port()
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "ecohash.settings",
        "VAR_DIR": str(folder),
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "DATABASE_URL": "",
    }
    words = ["-m", "gunicorn", "-c", "python:ecohash.gunicorn_conf", "ecohash.wsgi"]
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=servers.ROOT,
            env=environment,
            stderr=log,
            preexec_fn=limit_files,  # noqa: PLW1509 - this thread alone runs here
        )
    server = Server(process, port)
    try:
        wait_for(server.is_up)
        yield server
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("var")) as server:
        yield server


def test_a_head_may_come_in_pieces(server: Server) -> None:
    with server.connect() as line:
        for byte in GET:
            line.send(bytes([byte]))
        assert line.recv(4_096).startswith(b"HTTP/1.1 200 ")


def test_requests_that_come_at_once_are_answered_in_turn(server: Server) -> None:
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert server.answers(GET + GET + last).count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\nHost: a\n\n", b"\r\n\r\n"])
def test_nonsense_is_refused_and_closed(server: Server, sent: bytes) -> None:
    assert server.answers(sent).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET /v1/models\r\n"]
)
def test_what_is_not_http_is_told_so_at_once(server: Server, sent: bytes) -> None:
    answer = server.answers(sent)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert b'"invalid_request_error"' in answer


def test_an_endless_head_is_refused(server: Server) -> None:
    head = b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 4_000) for n in range(9))
    assert server.answers(head).startswith(b"HTTP/1.1 431 ")


def test_a_refused_call_with_all_of_its_body_keeps_the_connection(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    for _ in range(2):
        connection.request("POST", "/v1/images/generations", b"{}")
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.getheader("Connection")) == (401, "keep-alive")
    connection.close()


def test_a_refused_call_without_its_body_is_answered_and_closed(server: Server) -> None:
    head = b"POST /v1/images/generations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{"
    answer = server.answers(head)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nConnection: close\r\n" in answer


def test_an_answer_survives_the_large_body_that_it_refuses(server: Server) -> None:
    """The server does not read it; closing at once would reset the connection before the answer came."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    connection.request("POST", "/v1/images/generations", b"a" * 1_500_000)
    assert connection.getresponse().status == 401
    connection.close()


def test_an_idle_connection_does_not_keep_the_server_from_stopping(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.connect() as idle, server.connect() as silent:
        silent.send(b"GET /hea")
        idle.send(GET)
        idle.recv(4_096)
        server.process.terminate()
        # Not the 75 s for which an idle one may stay.
        assert server.process.wait(PATIENCE_SECONDS) == 0


def test_a_process_out_of_files_goes_on_when_there_are_some_again(tmp_path: Path) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))

    with serving(tmp_path, few) as server:
        lines = [server.connect() for _ in range(80)]
        log = tmp_path / "web.log"
        wait_for(lambda: "a connection was not accepted: Too many open files" in log.read_text())
        for line in lines:
            line.close()
        wait_for(server.is_up)
        assert log.read_text().count("Booting worker") == 1


def test_a_worker_ends_on_quit_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.connect() as line:
        line.send(GET[:-2])
        server.process.send_signal(signal.SIGQUIT)
        assert server.process.wait(PATIENCE_SECONDS) == 0
