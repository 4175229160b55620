"""The WSGI callable that gunicorn serves."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ecohash.settings")

LONGEST_LENGTH = 18  # digits of a Content-Length


class Body:
    """A request's body. Whatever fails while it is read is OSError, as if the client had gone away.

    gunicorn has exceptions of its own for chunks that are malformed, and Django knows OSError alone:
    the client's mistake would be a fault of ours, at every address that reads a body. A body that ends
    before its length has none at all: a view would take half a form for the whole.
    """

    def __init__(self, stream: Any, length: int = 0) -> None:
        self.stream = stream
        # Bytes that must still come; 0 for a body in chunks, which says itself where it ends.
        self.missing = length

    def read(self, size: int = -1) -> bytes:
        expected = self.missing if size < 0 else min(size, self.missing)
        return self._or_fail(self.stream.read, size, expected)

    def readline(self, size: int = -1) -> bytes:
        return self._or_fail(self.stream.readline, size, min(1, abs(size), self.missing))

    def _or_fail(self, read: Callable[..., bytes], size: int, expected: int) -> bytes:
        try:
            data = read(size)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - a server's own, which we cannot name
            raise OSError(type(error).__name__) from None
        if len(data) < expected:
            raise OSError("the body ended before its length")
        self.missing -= len(data)
        return data


class Application:
    """Django, behind a body that it can read."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or ""
        # Of more digits than that, no body comes to its end.
        whole = int(length) if length.isdecimal() and len(length) <= LONGEST_LENGTH else 0
        environ["wsgi.input"] = Body(environ["wsgi.input"], whole)
        return self.application(environ, start_response)


application = Application(get_wsgi_application())
