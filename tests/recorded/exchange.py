"""Requests as requests.txt has them, sent through the WSGI application, and their answers as text.

A text holds all of an answer, byte for byte, except what is random or of this moment; see `masked`.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from ecohash.wsgi import application

FOLDER = Path(__file__).parent
NAMES = {
    "two bad bytes": "\udcff\udcfe",
    "65 brackets": "[" * 65 + "]" * 65,
    "500 words": "a " * 500,
    "1001 letters": "a" * 1_001,
}
# A machine under load may take this long from the begin of an answer to its end.
SLOWEST_SECONDS = 30
SPANS = {
    "<now>": timedelta(0),
    "<in 24 hours>": timedelta(hours=24),
    "<7 days ago>": timedelta(days=-7),
}


@dataclass
class Exchange:
    """One request, and the situation in which it is sent."""

    section: str
    title: str
    situation: str
    method: str
    path: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)
    body: str = ""

    @property
    def name(self) -> str:
        """What its test is called."""
        return f"{self.section}: {self.title}"

    def environ(self, names: Mapping[str, str]) -> dict[str, Any]:
        """The request as a WSGI server hands it over; headers that are sent twice are joined, as gunicorn does."""
        body = filled_in(self.body, names).encode("utf-8", "surrogateescape")
        path, _, query = filled_in(self.path, names).partition("?")
        environ = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "203.0.113.7",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": BytesIO(),
            "wsgi.input": BytesIO(body),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        sent: dict[str, str] = {}
        for name, value in self.headers:
            line = filled_in(value, names).encode().decode("latin-1")
            sent[name.lower()] = f"{sent[name.lower()]},{line}" if name.lower() in sent else line
        for name, value in self.by_default(sent, names, body).items():
            sent.setdefault(name, value)
        if "transfer-encoding" in sent:
            environ["wsgi.input_terminated"] = True
        for name, value in sent.items():
            plain = name in {"content-type", "content-length"}
            key = name.upper().replace("-", "_")
            environ[key if plain else f"HTTP_{key}"] = value
        return environ

    def by_default(
        self, sent: Mapping[str, str], names: Mapping[str, str], body: bytes
    ) -> dict[str, str]:
        """The headers that every client sends."""
        headers = {"host": "127.0.0.1:8000"}
        if "key" in names and "authorization" not in self.left_out:
            headers["authorization"] = f"Bearer {names['key']}"
        if body and "content-type" not in self.left_out:
            headers["content-type"] = "application/json"
        if body and "transfer-encoding" not in sent:
            headers["content-length"] = str(len(body))
        return headers

    def answer(self, names: Mapping[str, str]) -> str:
        """Send it; returns the status, the headers in their order and the body, as text.

        The body of an answer to HEAD is the application's: a server leaves it out.
        """
        begun: list[Any] = []
        with connections_left_open():
            chunks: Any = application(
                self.environ(names), lambda status, headers, *_: begun.extend([status, headers])
            )
            body = b"".join(chunks)
            chunks.close()
        status, headers = begun
        # Python 3.13 has the newer name of 413.
        status = status.replace("Content Too Large", "Request Entity Too Large")
        lines = [f"{name}: {masked(name, value, names)}" for name, value in headers]
        return "\n".join([status, *lines, "", masked("", text_of(body), names)])


@contextmanager
def connections_left_open() -> Iterator[None]:
    """As in Django's test client: the connection with the test's transaction outlives the request."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections)


def read_requests() -> list[Exchange]:
    """All of requests.txt."""
    exchanges: list[Exchange] = []
    section = ""
    for line in (FOLDER / "requests.txt").read_text().splitlines():
        if line.startswith("== "):
            section = line[3:]
        elif line.startswith("-- "):
            title, situation, request = line[3:].split(" | ")
            method, path = request.split(" ", 1)
            exchanges.append(Exchange(section, title, situation, method, path))
        elif line.startswith("> "):
            exchanges[-1].body = line[2:]
        elif line.startswith("-"):
            exchanges[-1].left_out.add(line[1:].lower())
        elif line and not line.startswith("#"):
            name, _, value = line.partition(":")
            exchanges[-1].headers.append((name, value.strip()))
    return exchanges


def filled_in(text: str, names: Mapping[str, str]) -> str:
    """The text with what <each name> stands for."""
    for name, value in {**NAMES, **names}.items():
        text = text.replace(f"<{name}>", value)
    return text


def text_of(body: bytes) -> str:
    """The body as text, its line ends visible; a picture is told by its digest."""
    if not body:
        return "<no body>"
    if body.startswith(b"\x89PNG"):
        return told(body)
    text = body.decode().replace("\r", "␍").replace("\n", "␊\n").removesuffix("\n")
    return re.sub(
        r'("b64_json": ")([^"]*)',
        lambda found: found[1] + told(base64.b64decode(found[2], validate=True)),
        text,
    )


def told(picture: bytes) -> str:
    """What is recorded of a picture."""
    return f"<{len(picture)} bytes, sha256 {hashlib.sha256(picture).hexdigest()}>"


def masked(header: str, text: str, names: Mapping[str, str]) -> str:
    """The header's value, or a body where `header` is empty, without what differs from run to run."""
    for name, value in names.items():
        text = text.replace(value, f"<{name}>")
    if header == "openai-processing-ms":
        return re.sub(r"^\d+$", "<milliseconds>", text)
    if header == "x-ecohash-instance":
        return "<this installation>"
    if header == "Content-Security-Policy":
        # The library writes the directives in another order in each process.
        return "; ".join(sorted(text.split("; ")))
    text = re.sub(r"\breq_[0-9A-Za-z]{24}\b", "<request id>", text)
    text = re.sub(r"\bgen_[0-9A-Za-z]{22}\b", "<new generation>", text)
    text = re.sub(
        r"/i/[0-9A-Za-z]{32}\.png\?expires=(\d+)&sig=[-_0-9A-Za-z]{43}",
        lambda found: f"/i/<new token>.png?expires={found[1]}&sig=<new signature>",
        text,
    )
    # What counts down while a call is made: from ten seconds on, rounded up to the next ten.
    if header == "Retry-After":
        text = re.sub(r"^\d\d$", tens, text)
    elif header.startswith("x-ratelimit-reset-"):
        text = re.sub(r"^\d\d(?=s$)", tens, text.replace("1m0s", "60s"))
    text = re.sub(r"(?<=again in )\d\d(?= seconds)", tens, text)
    return without_this_moment(text)


def tens(seconds: re.Match[str]) -> str:
    return f"<up to {-(-int(seconds[0]) // 10) * 10}>"


def without_this_moment(text: str) -> str:
    """Times, dates and months are masked where they are those of this call, and stay where they are not."""
    now = datetime.now(UTC)

    def time(found: re.Match[str]) -> str:
        try:
            moment = datetime.fromisoformat(found[0])
        except ValueError:
            moment = datetime.fromtimestamp(int(found[0]), UTC)
        for mask, span in SPANS.items():
            # Some are rounded up to the next second.
            if -SLOWEST_SECONDS <= (moment - now - span).total_seconds() <= 1:
                return mask
        return found[0]

    def day(found: re.Match[str]) -> str:
        for mask, span in SPANS.items():
            then = now + span
            if found[0] in {
                f"{then:%Y-%m-%d}",
                f"{then - timedelta(seconds=SLOWEST_SECONDS):%Y-%m-%d}",
            }:
                return mask
        return found[0]

    text = re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00|\b\d{10}\b", time, text)
    text = re.sub(r"\b\d{4}-\d\d-\d\d\b(?!T)", day, text)
    months = {f"{now:%Y-%m}", f"{now - timedelta(seconds=SLOWEST_SECONDS):%Y-%m}"}
    return re.sub(
        r'("month": ")(\d{4}-\d\d)"',
        lambda found: f'{found[1]}<this month>"' if found[2] in months else found[0],
        text,
    )
