"""A browser behind a proxy that streams: its bodies come chunked and without a length."""

from io import BytesIO
from types import SimpleNamespace
from typing import Any

from django.test import Client
from gunicorn.http.body import Body as GunicornBody
from gunicorn.http.body import ChunkedReader
from gunicorn.http.unreader import IterUnreader

from ecohash.wsgi import Body

PIECE = 700


def chunks_of(body: bytes) -> bytes:
    """The body as HTTP/1.1 has it on the wire; its size lines have an extension, and a trailer follows."""
    pieces = [body[start : start + PIECE] for start in range(0, len(body), PIECE)]
    encoded = [b"%x;n=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    return b"".join(encoded) + b"0\r\nX-Checksum: 1\r\n\r\n"


def stream(wire: bytes) -> Body:
    """What gunicorn gives to Django for such bytes; after them the client is gone."""
    unreader = IterUnreader([wire[start : start + 1_000] for start in range(0, len(wire), 1_000)])
    message = SimpleNamespace(parse_headers=lambda *_args, **_options: [])
    return Body(GunicornBody(ChunkedReader(message, unreader)))


class ChunkedClient(Client):
    """Django's, whose bodies go through gunicorn's reader of chunks; `wire` changes their bytes."""

    def wire(self, body: bytes) -> bytes:
        return chunks_of(body)

    def request(self, **request: Any) -> Any:
        body = request.pop("wsgi.input", BytesIO()).read()
        request |= {
            "CONTENT_LENGTH": "",
            "HTTP_TRANSFER_ENCODING": "chunked",
            "wsgi.input": stream(self.wire(body)),
            "wsgi.input_terminated": True,
        }
        return super().request(**request)


class BrokenClient(ChunkedClient):
    """One whose connection breaks before the end of the body."""

    def wire(self, body: bytes) -> bytes:
        return chunks_of(body)[:-40]
