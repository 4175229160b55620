"""Whose server answers, before `make up` says that it is ready."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from pytest_django import Settings

from ecohash.configuration import instance
from ecohash.up import welcome

Serve = Callable[..., None]


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Answers on PORT with this status, body and headers."""
    servers = []

    def begin(status: int, body: object, **headers: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        settings.PORT = server.server_port

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


READY = {"ready": True, "checks": {"database": True}}


def test_our_own_server_is_ready(serve: Serve) -> None:
    serve(200, READY, x_ecohash_instance=instance.instance_id())
    assert list(welcome.wait_until_ready()) == []


def test_what_our_own_server_misses_is_named(serve: Serve) -> None:
    checks = {"database": True, "worker": False}
    serve(503, {"checks": checks}, x_ecohash_instance=instance.instance_id())
    assert next(welcome.wait_until_ready()) == "waiting for: worker"


@pytest.mark.parametrize(
    ("status", "headers"),
    [(200, {}), (404, {}), (503, {}), (200, {"x_ecohash_instance": "0" * 16})],
    ids=["a server that says yes to all", "one that knows no such page", "a busy one", "EcoHash"],
)
def test_another_program_on_our_port_is_never_called_ours(
    serve: Serve, settings: Settings, status: int, headers: dict[str, str]
) -> None:
    serve(status, READY, **headers)
    line = next(welcome.wait_until_ready())
    assert line.startswith(f"Another program answers on port {settings.PORT}. ")
    assert "PORT=" in line


def test_a_proxy_of_the_environment_is_not_asked(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    serve(200, READY, x_ecohash_instance=instance.instance_id())
    assert welcome.missing_parts() == []


def test_another_secret_or_another_folder_is_another_installation(settings: Settings) -> None:
    mine = instance.instance_id()
    settings.SECRET_KEY = "another"
    assert instance.instance_id() != mine
    settings.SECRET_KEY, settings.VAR_DIR = "another", "/elsewhere"
    assert len({mine, instance.instance_id()}) == 2
