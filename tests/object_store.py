"""A small S3 for tests: it keeps objects in memory, and fails in each way that a real one does.

    with ObjectStoreDouble() as store:
        store.fault("PUT", "stall")

Faults of a method hold until `heal`, or for so many `times`. What was asked is in `requests`.
"""

import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest
from botocore.loaders import Loader

from ecohash.configuration.object_store import ObjectStore
from images.pictures import storage

BUCKET = "pics"
# Of one call to the store, in tests that wait for its end: enough for a call that is well, under load too.
LIMIT_SECONDS = 2.0
CHECKSUM_HEADERS = ("x-amz-trailer", "x-amz-checksum", "x-amz-sdk-checksum")
LONGEST_STALL_SECONDS = 120
TRICKLE_SECONDS = 0.05


@dataclass
class StoreRequest:
    """What was asked, with the names of its headers in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    query: dict[str, list[str]] = field(default_factory=dict)


class ObjectStoreDouble:
    """An S3 on a free port of this machine, with path-style addresses and any credentials."""

    def __init__(self, port: int = 0) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: list[StoreRequest] = []
        self.knows_checksums = True
        self._port = port
        self._lock = threading.Lock()
        self._faults: dict[str, tuple[str, float]] = {}
        self.stalled = threading.Event()
        self._healed = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def fault(self, method: str, kind: str, *, times: float = float("inf")) -> None:
        """A status such as `403`, or `stall`, `stall_half`, `cut_half`, `trickle` or `drop`."""
        with self._lock:
            self._healed.clear()
            self.stalled.clear()
            self._faults[method] = (kind, times)

    def heal(self) -> None:
        """No faults any more; whoever is stalled loses the connection."""
        with self._lock:
            self._faults.clear()
            self._healed.set()

    def asked(self, method: str) -> list[StoreRequest]:
        """The requests of that method so far."""
        with self._lock:
            return [request for request in self.requests if request.method == method]

    def open(self) -> None:
        """Listen, on the same port as before where it was closed."""
        store = self

        class Handler(StoreHandler):
            double = store

        ThreadingHTTPServer.daemon_threads = True
        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    def close(self) -> None:
        """Refuse connections; those that are open are cut at their next request."""
        self._healed.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def is_open(self) -> bool:
        return self._server is not None

    def wait_for_heal(self) -> None:
        self.stalled.set()
        self._healed.wait(LONGEST_STALL_SECONDS)

    def take_fault(self, method: str) -> str:
        """The fault that this request meets; empty for none."""
        with self._lock:
            kind, times = self._faults.get(method, ("", 0))
            if times <= 0:
                return ""
            self._faults[method] = (kind, times - 1)
            return kind

    def note(self, request: StoreRequest) -> None:
        with self._lock:
            self.requests.append(request)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def configured(**values: str) -> ObjectStore:
    """The settings of an S3, as the environment would give them."""
    unset = dict.fromkeys(("endpoint", "public_endpoint", "region"), "")
    defaults = {"bucket": BUCKET, "addressing_style": "auto", "links": "redirect"}
    return ObjectStore(**unset | defaults | values)


def use(settings: Any, object_store: ObjectStore, *, timeout_seconds: float = 30) -> None:
    """The settings as they are where the environment names that S3."""
    settings.S3_BUCKET, settings.S3_LINKS = object_store.bucket, object_store.links
    settings.STORAGE_TIMEOUT_SECONDS = timeout_seconds
    images: Any = object_store.storage(timeout_seconds=timeout_seconds)
    settings.STORAGES = settings.STORAGES | {"images": images}


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some that no store looks at; and no file of the developer's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")


@cache
def one_loader(_search_path: str | None = None) -> Any:
    """botocore's descriptions of S3, read once for all clients of a process: that takes longer than most tests."""
    return Loader()


@pytest.fixture
def object_store(
    settings: Any, aws_credentials: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectStoreDouble]:
    """Pictures lie in an S3 of this test, whose every call has a short limit."""
    monkeypatch.setattr(storage, "REMOVAL_SECONDS", LIMIT_SECONDS)
    monkeypatch.setattr("botocore.session.create_loader", one_loader)
    with ObjectStoreDouble() as store:
        use(settings, configured(endpoint=store.endpoint), timeout_seconds=LIMIT_SECONDS)
        # The first call makes the client, which takes a while on a busy machine.
        storage.pictures().exists("first")
        store.requests.clear()
        yield store
        store.heal()


class StoreHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    double: ObjectStoreDouble

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""

    def answer(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = urllib.parse.parse_qs(parts.query)
        self.double.note(StoreRequest(self.command, parts.path, headers, query))
        if not self.double.is_open():
            self.close_connection = True
            return
        kind = self.double.take_fault(self.command)
        if kind == "stall":
            # Before the body is read, as a store whose disk is away.
            self.double.wait_for_heal()
            self.close_connection = True
            return
        body = self.rfile.read(int(headers.get("content-length", 0)))
        if any(name.startswith(CHECKSUM_HEADERS) for name in headers) and not (
            self.double.knows_checksums
        ):
            kind = "501"
        if kind == "drop":
            self.close_connection = True
        elif kind.isdigit():
            self.refuse(int(kind))
        else:
            self.serve(urllib.parse.unquote(parts.path), body, kind)

    do_GET = do_HEAD = do_PUT = do_DELETE = answer  # noqa: N815 - the server's names

    def serve(self, path: str, body: bytes, kind: str) -> None:
        objects = self.double.objects
        if self.command == "PUT":
            objects[path] = body
            self.reply(200, b"", etag='"0"')
        elif self.command == "DELETE":
            objects.pop(path, None)
            self.reply(204, b"")
        elif path not in objects:
            self.refuse(404)
        else:
            self.send_object(objects[path], kind)

    def send_object(self, content: bytes, kind: str) -> None:
        sent = content[: len(content) // 2] if kind.endswith("_half") else content
        self.reply(200, content if not kind else b"", length=len(content))
        if self.command == "HEAD" or not kind:
            return
        steps: dict[str, Callable[[], None]] = {
            "stall_half": self.double.wait_for_heal,
            "cut_half": lambda: None,
        }
        if kind == "trickle":
            self.trickle(content)
        else:
            self.wfile.write(sent)
            self.wfile.flush()
            steps[kind]()
        self.close_connection = True

    def trickle(self, content: bytes) -> None:
        """A byte at a time, each well within a timeout of sockets."""
        for byte in content:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(TRICKLE_SECONDS)

    def refuse(self, status: int) -> None:
        codes = {403: "AccessDenied", 404: "NoSuchKey", 500: "InternalError", 501: "NotImplemented"}
        code = codes.get(status, "SlowDown")
        self.reply(status, f"<Error><Code>{code}</Code></Error>".encode())

    def reply(self, status: int, body: bytes, *, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
