"""The request id that follows one call through web, worker and logs."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from accounts import base62

_current: ContextVar[str] = ContextVar("request_id", default="-")


def new() -> str:
    """A fresh id, `req_` and 24 random base62 characters."""
    return f"req_{base62.random(24)}"


def current() -> str:
    """The id of the request that this thread works for; `-` outside of one."""
    return _current.get()


@contextmanager
def working_for(request_id: str) -> Iterator[None]:
    """Everything logged inside carries this request id."""
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)
