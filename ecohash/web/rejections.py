"""The answer to what is no request: the parser refuses it before Django sees it, or the application failed whole.

It has the form of every other error, an id and a log line. No text repeats what was sent, except the name of a header.
"""

import logging
import re
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import http_date
from gunicorn.http import errors as parser_errors
from gunicorn.http.errors import InvalidResponseHeader, InvalidResponseHeaderName, ParseException
from gunicorn.util import split_request_uri

from accounts.http import request_id
from accounts.http.refusals import Refusal
from ecohash import errors
from ecohash.web.connections import HEAD_BYTES
from ecohash.web.middleware import add_api_headers

logger = logging.getLogger(__name__)

REQUEST_LINE = re.compile(rb"(?:\r\n)?([A-Z]{3,20}) ([\x21-\x7e]+)(?: |\r\n|$)")
# A name that holds no secret: keys have digits and underscores.
PLAIN_NAME = re.compile(r"[A-Za-z]+(-[A-Za-z]+)*")
LONGEST_NAME = 40
TLS_HELLO = b"\x16\x03"
HTTP_2 = b"PRI * HTTP/2"

TEXTS: dict[type[ParseException], tuple[int, str]] = {
    parser_errors.LimitRequestLine: (
        414,
        "The request line is longer than {line:,} bytes. Shorten the address; long values belong in the body.",
    ),
    parser_errors.LimitRequestHeaders: (
        431,
        "The request line and headers are larger than {head} KiB together. Send fewer or shorter headers.",
    ),
    parser_errors.ExpectationFailed: (
        417,
        "The Expect header may only say 100-continue. Leave it out.",
    ),
    parser_errors.UnsupportedTransferCoding: (
        501,
        "The body's Transfer-Encoding must be chunked and nothing else. Send it chunked, or with a Content-Length.",
    ),
    parser_errors.InvalidRequestMethod: (
        400,
        "The method of the request must be a word in capital letters, such as GET or POST.",
    ),
    parser_errors.InvalidHTTPVersion: (
        400,
        "The version of the request is not read here. Send HTTP/1.1.",
    ),
    parser_errors.InvalidHeaderName: (
        400,
        "The name of a header holds characters that HTTP does not allow, or it may not be a trailer. Leave it out.",
    ),
    parser_errors.ObsoleteFolding: (
        400,
        "A header continues on a second line. Send each header on one line.",
    ),
    parser_errors.InvalidHeader: (
        400,
        "A header has no colon, holds control characters, or does not end with CR LF. Check the headers.",
    ),
    parser_errors.InvalidRequestLine: (
        400,
        (
            "The request line is not HTTP. It must be a method, an address with special characters "
            "percent-encoded, and HTTP/1.1, and end with CR LF."
        ),
    ),
}
OF_ONE_HEADER = {
    "CONTENT-LENGTH": "Content-Length must be one whole number, and not be sent together with Transfer-Encoding.",
    "TRANSFER-ENCODING": "Transfer-Encoding must be chunked, and HTTP/1.1.",
    "HOST": "The Host header must be sent once, as plain text.",
    "CONTENT-TYPE": "The Content-Type header must be sent once, as plain text.",
}
IN_A_BROWSER = " In a browser, delete the cookies of this site."


class Rejection(Refusal):
    """A request that could not be read."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        if status >= errors.ServerFault.status:
            # SDKs try such a status again.
            self.headers = {"x-should-retry": "false"}


def answer(head: bytes, limits: Any, error: Exception) -> bytes:
    """The whole answer, as bytes for the socket. It says that the connection ends.

    Args:
        head: the request up to its body, as far as it was received.
        limits: gunicorn's configuration.
        error: what the parser, or the application, raised.
    """
    started = time.perf_counter()
    request = request_of(head)
    current = request_id.new()
    with request_id.working_for(current):
        refusal = refusal_for(head, limits, error)
        page = is_page(request)
        response = as_page(refusal) if page else errors.rendered(refusal)
        milliseconds = round((time.perf_counter() - started) * 1000)
        response["x-request-id"] = current
        response["X-Content-Type-Options"] = "nosniff"
        if page:
            response["Cache-Control"] = "no-store"
        else:
            add_api_headers(response, milliseconds)
        logger.info(
            "request",
            extra={
                "method": request.method if request else "none",
                "route": "none",
                "status": response.status_code,
                "ms": milliseconds,
                "refused": type(error).__name__,
            },
        )
    return as_bytes(response, without_body=request is not None and request.method == "HEAD")


def refusal_for(head: bytes, limits: Any, error: Exception) -> Refusal:
    """Why the request is refused, and what to do. What is not the client's mistake is logged, and is our fault."""
    ours = isinstance(error, InvalidResponseHeader | InvalidResponseHeaderName)
    kind = next((kind for kind in TEXTS if isinstance(error, kind)), None)
    if ours or kind is None:
        logger.error("request failed", exc_info=error)
        return errors.ServerFault()
    if head.startswith(TLS_HELLO):
        return Rejection(
            400, "This port speaks plain HTTP, not TLS. Begin the address with http://."
        )
    if head.startswith(HTTP_2):
        return Rejection(400, "HTTP/2 is not spoken on this port. Send HTTP/1.1.")
    status, text = TEXTS[kind]
    if kind is parser_errors.InvalidHeader:
        text = OF_ONE_HEADER.get(str(getattr(error, "hdr", "")), text)
    if kind is parser_errors.LimitRequestHeaders:
        text = too_large(head, limits) or text
    return Rejection(status, text.format(line=limits.limit_request_line, head=HEAD_BYTES // 1024))


def too_large(head: bytes, limits: Any) -> str:
    """Which header is too long, or how many there may be; empty where it is all of them together."""
    _, *lines = head.split(b"\r\n")
    most: int = limits.limit_request_field_size
    long = next((line for line in lines if len(line) + 2 > most), None)
    if long is not None:
        name = long[: LONGEST_NAME + 1].partition(b":")[0].decode("latin-1")
        known = PLAIN_NAME.fullmatch(name) and len(name) <= LONGEST_NAME
        which = f"The header {name}" if known else "A header"
        cookies = IN_A_BROWSER if name.lower() == "cookie" else ""
        return f"{which} is longer than {most:,} bytes. Send a shorter one, or none.{cookies}"
    if sum(map(bool, lines)) > limits.limit_request_fields:
        return f"The request has more than {limits.limit_request_fields} headers. Send fewer."
    return ""


def request_of(head: bytes) -> HttpRequest | None:
    """What can be read of the request: its method, path and headers; None where no request line can."""
    found = REQUEST_LINE.match(head)
    if not found:
        return None
    method, target = (part.decode("ascii") for part in found.groups())
    try:
        path = unquote(split_request_uri(target).path) or "/"
    except ValueError:
        return None
    if not path.startswith("/"):
        return None
    request = HttpRequest()
    request.method = method
    request.path = request.path_info = path
    for line in head[found.end() :].split(b"\r\n"):
        name, colon, value = line.decode("latin-1").partition(":")
        if colon and PLAIN_NAME.fullmatch(name):
            key = name.upper().replace("-", "_")
            key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
            request.META[key] = value.strip()
    return request


def is_page(request: HttpRequest | None) -> bool:
    """Whether a person's browser asked for a page. Of what cannot be read, a program is the likely sender."""
    if request is None or errors.wants_json(request):
        return False
    return request.method in {"GET", "HEAD"} or "text/html" in request.META.get("HTTP_ACCEPT", "")


def as_page(refusal: Refusal) -> HttpResponse:
    """The page for a browser; it needs no database."""
    if isinstance(refusal, Rejection):
        return render(None, "400.html", {"reason": str(refusal)}, status=refusal.status)
    return render(None, "500.html", status=refusal.status)


def as_bytes(response: HttpResponse, *, without_body: bool) -> bytes:
    """The answer as it goes over the socket."""
    status = response.status_code
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Date: {http_date()}",
        "Connection: close",
        f"Content-Length: {len(response.content)}",
    ]
    head = "\r\n".join(lines).encode() + b"\r\n" + response.serialize_headers() + b"\r\n\r\n"
    return head if without_body else head + response.content
