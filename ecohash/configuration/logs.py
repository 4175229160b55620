"""Log lines: each carries its request id, and none a secret or a text that a client sent."""

import logging
import logging.config
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from accounts.http import request_id

logger = logging.getLogger(__name__)

HIDDEN = "[hidden]"
LONGEST = 20_000  # characters of one text
# A shorter one is a word of ours, such as the hint of a key that pages show.
SHORTEST_MESSAGE = 8

# The first letters of our keys, in any case and percent-encoded any number of times.
_E, _C, _O = (f"(?:{low}|%(?:25)*[46]{digit})" for low, digit in (("e", 5), ("c", 3), ("o", "f")))
OPENERS = (
    "sig|signature|x-amz-(?:signature|credential|security-token)|credential|token|secret|password\\d?"
    "|api_?key|sessionid|csrf\\w*"
)
SECRETS = [
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), said)
    for pattern, said in (
        (rf"{_E}{_C}{_O}(?:_|%(?:25)*5f)[\w%]{{5,}}", HIDDEN),
        (r"\b[srp]k_(?:live|test)_\w+|\bwhsec_\w+", HIDDEN),
        (r"\b(bearer|basic)\s+\S{8,}", rf"\1 {HIDDEN}"),
        # Links that open something, and parameters, cookies and fields that do.
        (r"(/password/reset/key/|/verify-email/|/i/)[^\s?'\"]{12,}", rf"\1{HIDDEN}"),
        (
            rf"\b({OPENERS})(['\"]?\s*[=:]\s*b?['\"]?)[^\s&;,'\"]+",
            rf"\1\2{HIDDEN}",
        ),
        (r"://[^\s/@:]*:[^\s/@]+@", f"://{HIDDEN}@"),
        # PostgreSQL's, with the row.
        (r"(DETAIL: |Failing row contains).*", rf"\1 {HIDDEN}"),
    )
]
# Its own words about a request; what the client sent stands behind them.
GUNICORN = re.compile(
    r"Invalid request from ip=\S*?: [A-Za-z ]*|Error handling request|Closing connection"
    r"|Ignored premature client disconnection"
)
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class RedactingFilter(logging.Filter):
    """Adds the request id; removes keys, prompts and signatures of links.

    Django's request would be written with its query string. An exception is told by its type and
    frames: its message can hold a row, as PostgreSQL's "Failing row contains" does.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.current()
        record.__dict__.pop("request", None)
        error = record.exc_info[1] if record.exc_info else None
        record.msg, record.args = redact(message_of(record, error)), ()
        for name in vars(record).keys() - STANDARD:
            setattr(record, name, redact(getattr(record, name)))
        record.exc_info = record.exc_text = None
        if error:
            record.error = type(error).__name__
            record.frames = frames_of(error)
        return True


class RedactingHandler(logging.StreamHandler[Any]):
    """Python's, which prints a line that it cannot write with all its values."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - Python's own name
        kind = sys.exc_info()[0]
        name = kind.__name__ if kind else "an error"
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"A log line of {record.name} could not be written: {name}.\n")


def message_of(record: logging.LogRecord, error: BaseException | None) -> str:
    """The message, without parts of the request or of an exception that a library put into it."""
    try:
        text = record.getMessage()
    # A wrong placeholder, or a value that cannot be shown.
    except Exception:  # noqa: BLE001
        return record.msg if isinstance(record.msg, str) else "A message that cannot be shown"
    if record.name.startswith(("django.request", "django.security")):
        # Their sentences end in the address or the host name that was sent: "Not Found: /v1/eco_...".
        text = text.partition(":")[0]
    elif record.name.startswith("gunicorn"):
        found = GUNICORN.match(text)
        text = found[0] if found else text
    elif record.name == "celery.app.trace" and isinstance(record.__dict__.get("data"), dict):
        # Its context holds the arguments, and the traceback with the exception's message.
        task = record.__dict__.pop("data")
        text = f"Task {task.get('name')}[{task.get('id')}] {task.get('description', 'ended')}"
    for each in chain_of(error):
        for message in (repr(each), str(each)):
            if len(message) >= SHORTEST_MESSAGE:
                text = text.replace(message, type(each).__name__)
    return text


def redact(value: Any) -> Any:
    """The value without secrets, fit for JSON."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, dict):
        return {redact(str(name)): redact(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(part) for part in value]
    text = value if isinstance(value, str) else str(value)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    for pattern, said in SECRETS:
        text = pattern.sub(said, text)
    return text


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and each one that led to it."""
    while error:
        yield error
        hidden = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or hidden


def frames_of(error: BaseException) -> str:
    """Where it was raised, and where each error that led to it was, without a message."""
    return "\n".join(
        type(each).__name__ + "\n" + "".join(traceback.format_tb(each.__traceback__))
        for each in chain_of(error)
    )


# --- what Python itself prints ----------------------------------------------------------------------


def dict_config(*, level: str) -> dict[str, Any]:
    """The settings' LOGGING: JSON on stderr, with the request id."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"redact": {"()": "ecohash.configuration.logs.RedactingFilter"}},
        "formatters": {
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "format": "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s %(process)d",
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
            },
        },
        "handlers": {
            "stderr": {
                "class": "ecohash.configuration.logs.RedactingHandler",
                "formatter": "json",
                "filters": ["redact"],
                "stream": sys.stderr,
            },
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Named, so that the handlers which Django gives it (a terminal's, and mails with the request) go.
            "django": {"level": "INFO"},
            # Our own middleware writes one line for each request, without the query string.
            "django.server": {"level": "ERROR", "propagate": True},
            # At DEBUG each statement, with its values.
            "django.db.backends": {"level": "INFO"},
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"level": "ERROR"},
            "gunicorn.error": {"level": "INFO", "propagate": True},
            # Two lines for each call, with addresses of customers' objects.
            "stripe": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
        },
    }


def configure(config: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG: apply LOGGING, and add the filter to Python's handler of last resort."""
    logging.config.dictConfig(config)
    logging.captureWarnings(True)  # noqa: FBT003 - positional in the standard library
    if logging.lastResort and not logging.lastResort.filters:
        logging.lastResort.addFilter(RedactingFilter())


def log_uncaught_exceptions() -> None:
    """Log uncaught exceptions of a service like every other error.

    A command prints them, for the person who runs it.
    """
    sys.excepthook = _uncaught
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value, None)
    sys.unraisablehook = lambda told: _uncaught(told.exc_type, told.exc_value, None)


def _uncaught(kind: type[BaseException], error: BaseException | None, _trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    error = error or kind()
    logger.critical("uncaught exception", exc_info=(kind, error, error.__traceback__))
