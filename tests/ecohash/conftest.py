"""The log as an operator would read it."""

import io
import json
import logging
import logging.config
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as configured

Log = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def log() -> Iterator[Log]:
    """A function that returns the lines so far, in the format and with the filters of production."""
    written = io.StringIO()
    handlers = handlers_writing_to(written)
    # A test run's own root logger is silent.
    logging_settings: dict[str, Any] = configured.LOGGING
    talking = logging_settings["root"] | {"handlers": list(handlers)}
    config = logging_settings | {"handlers": handlers, "root": talking}
    root = logging.getLogger()
    before = root.handlers[:]
    logging.config.dictConfig(config)

    def lines() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in written.getvalue().splitlines()]
        assert found, "nothing was logged at all"
        return found

    yield lines
    root.handlers[:] = before


def handlers_writing_to(stream: io.StringIO) -> dict[str, dict[str, Any]]:
    """The configured handlers, with that stream in place of the terminal."""
    before: Any = configured.LOGGING["handlers"]
    return {name: handler | {"stream": stream} for name, handler in before.items()}
