"""The WSGI callable that gunicorn serves."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ecohash.settings")


class Body:
    """A request's body. Whatever fails while it is read is OSError, as if the client had gone away.

    gunicorn has exceptions of its own for chunks that are malformed, and Django knows OSError alone:
    the client's mistake would be a fault of ours, at every address that reads a body.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def read(self, *size: int) -> bytes:
        return self._or_fail(self.stream.read, *size)

    def readline(self, *size: int) -> bytes:
        return self._or_fail(self.stream.readline, *size)

    def _or_fail(self, read: Callable[..., bytes], *size: int) -> bytes:
        try:
            return read(*size)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - a server's own, which we cannot name
            raise OSError(type(error).__name__) from None


class Application:
    """Django, behind a body that it can read."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["wsgi.input"] = Body(environ["wsgi.input"])
        return self.application(environ, start_response)


application = Application(get_wsgi_application())
