"""Calls whose body comes in two halves, over plain sockets."""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

PATIENCE_SECONDS = 30
CSRF = "a" * 32


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


class Upload:
    """A POST of which the head and half the body are sent; the server is at work on it by then."""

    def __init__(
        self,
        port: int,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        chunked: bool = False,
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        half = len(body) // 2
        first, self._rest = body[:half], body[half:]
        framing = {"Content-Length": str(len(body))}
        if chunked:
            framing = {"Transfer-Encoding": "chunked"}
            first, self._rest = _chunk(first), _chunk(self._rest) + _chunk(b"")
        # The server says "continue" once it has read the head and begins with the request.
        lines = {"Host": f"127.0.0.1:{port}", "Expect": "100-continue"} | framing | dict(headers)
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._socket.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode())
        said = self._socket.recv(len(b"HTTP/1.1 100 Continue\r\n\r\n"), socket.MSG_WAITALL)
        assert said.startswith(b"HTTP/1.1 100"), said
        self._socket.sendall(first)

    def finish(self) -> Answer:
        """Send the rest and read the answer."""
        with self._socket:
            self._socket.sendall(self._rest)
            response = http.client.HTTPResponse(self._socket, method="POST")
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def api_call(
    port: int,
    secret: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    *,
    chunked: bool = False,
) -> Upload:
    """Half a request for an image."""
    sent = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    raw = json.dumps(body).encode()
    path = "/v1/images/generations"
    return Upload(port, path, sent | dict(headers or {}), raw, chunked=chunked)


def form(port: int, path: str, session: str, fields: Mapping[str, str]) -> Upload:
    """Half a form of somebody who is signed in."""
    headers = {
        "Cookie": f"sessionid={session}; csrftoken={CSRF}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    body = urlencode({"csrfmiddlewaretoken": CSRF} | dict(fields)).encode()
    return Upload(port, path, headers, body)
