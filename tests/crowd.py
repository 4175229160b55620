"""Many callers at once against a running platform, over plain sockets: no client library helps or retries."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

BODY: dict[str, Any] = {
    "model": "flux-1-schnell",
    "prompt": "a red fox",
    "size": "512x512",
    "response_format": "url",
}
PATH = "/v1/images/generations"


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 when the connection broke before an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def code(self) -> str | None:
        """The code of an error."""
        return json.loads(self.body)["error"]["code"] if self.status >= 400 else None


def ask(
    port: int,
    key: str,
    *,
    method: str = "POST",
    path: str = PATH,
    headers: Mapping[str, str] | None = None,
    timeout: float = 120,
    **body: Any,
) -> Answer:
    """One call on a connection of its own."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        connection.request(
            method,
            path,
            json.dumps(BODY | body) if method == "POST" else None,
            {**sent, **(headers or {})},
        )
        response = connection.getresponse()
        raw = response.read()
    except (OSError, http.client.HTTPException):
        return Answer(0, {}, b"", time.monotonic() - started)
    finally:
        connection.close()
    lower = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, lower, raw, time.monotonic() - started)


def crowd(size: int, call: Callable[[int], Answer]) -> list[Answer]:
    """What each of so many callers got, who all begin in one moment."""
    barrier = threading.Barrier(size)

    def one(number: int) -> Answer:
        barrier.wait()
        return call(number)

    with ThreadPoolExecutor(max_workers=size) as pool:
        return list(pool.map(one, range(size)))
