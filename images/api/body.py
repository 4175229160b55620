"""Reading a JSON body from strangers: every way in which it can be wrong has an answer of ours."""

import json
import math
from typing import Any, NoReturn

from django.conf import settings
from django.http import HttpRequest
from django.http.request import UnreadablePostError

from accounts.http.refusals import Refusal
from accounts.http.repeatable import repeatable
from images.api.encodings import (
    MalformedBody,
    RequestTooLarge,
    decompress,
    encoding_of,
    text_of,
)

SEND_JSON = "Send the body as JSON, with the header 'Content-Type: application/json'."


class UnsupportedContentType(Refusal):
    status = 400
    code = "unsupported_content_type"

    def __init__(self, content_type: str = "") -> None:
        named = repeatable(content_type, most=60)
        if not content_type:
            came = "The header Content-Type is missing. "
        else:
            came = f"The Content-Type is '{named}'. " if named else ""
        super().__init__(came + SEND_JSON)


# Objects and arrays inside of one another. No field of ours has any; what reads JSON later recurses.
DEEPEST = 64
UNREADABLE = "The body ended before it was complete, or its chunks are malformed. Send it again."
TOO_DEEP = f"The body is nested too deeply. Objects and arrays may be nested {DEEPEST} levels deep."


class NotFinite(ValueError):
    """What Python takes for a number, and JSON does not. The text is for the caller."""


def read_json_object(request: HttpRequest) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        UnsupportedContentType: anything but application/json; parameters such as charset are fine.
        UnsupportedContentEncoding: compressed in a way that is not read here.
        RequestTooLarge: more than `BODY_LIMIT_BYTES`, before or after it is decompressed.
        MalformedBody: not JSON, not UTF-8, not an object, NaN or infinite, or nested deeper than
            `DEEPEST`; or it could not be read at all.
    """
    if request.content_type != "application/json":
        raise UnsupportedContentType(request.content_type or "")
    encoding = encoding_of(request.headers.get("Content-Encoding", ""))
    text = text_of(decompress(_read(request), encoding))
    if not text.strip():
        raise MalformedBody('The body is empty. Send one JSON object, such as {"model": "..."}.')
    try:
        body = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except NotFinite as error:
        raise MalformedBody(str(error)) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise MalformedBody(
            f"The body is not valid JSON: the mistake is at {place}. Send one JSON object."
        ) from None
    except ValueError:
        # Python refuses whole numbers of more than 4300 digits.
        raise MalformedBody(
            "A number in the body has too many digits. Send a smaller one."
        ) from None
    except RecursionError:
        raise MalformedBody(TOO_DEEP) from None
    if not isinstance(body, dict):
        raise MalformedBody('The body must be one JSON object, such as {"model": "..."}.')
    # A text with few brackets cannot be deep; only others are walked through.
    if text.count("[") + text.count("{") > DEEPEST and is_deeper(body, DEEPEST):
        raise MalformedBody(TOO_DEEP)
    return body


def is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and arrays are nested in more than so many levels. It does not recurse."""
    level = [value]
    for _ in range(levels + 1):
        level = [node for node in level if isinstance(node, dict | list)]
        if not level:
            return False
        level = [
            child for node in level for child in (node.values() if isinstance(node, dict) else node)
        ]
    return True


def _read(request: HttpRequest) -> bytes:
    """The raw body, with a length or without one.

    Raises:
        RequestTooLarge: more than `BODY_LIMIT_BYTES`; by its length, before anything is read.
        MalformedBody: it broke off, its chunks are malformed, or its length is no number.
    """
    limit = settings.BODY_LIMIT_BYTES
    length = request.META.get("CONTENT_LENGTH") or ""
    if length and not (length.isascii() and length.isdigit()):
        raise MalformedBody("The Content-Length header must be a whole number.")
    # Compared by its digits too, for int() refuses thousands of them.
    if len(length) > 2 * len(str(limit)) or int(length or 0) > limit:
        raise RequestTooLarge
    try:
        raw: bytes = request.read(limit + 1)
    except (OSError, UnreadablePostError):
        raise MalformedBody(UNREADABLE) from None
    if len(raw) > limit:
        raise RequestTooLarge
    return raw


def _refuse(name: str) -> NoReturn:
    raise NotFinite(f"{name} is not valid JSON. Send a number.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotFinite("A number in the body is too large. Send a smaller one.")
    return number
