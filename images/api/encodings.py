"""A body's bytes as text: whether it is compressed, how large it becomes, and which encoding it has."""

import json
import zlib

from django.conf import settings

from accounts.http.refusals import Refusal

SEND_PLAIN = "Send it uncompressed, or with gzip."
# zlib's window bits: 31 for gzip, 15 for deflate as HTTP means it, -15 for deflate without zlib's header.
GZIP, ZLIB, BARE = 31, 15, -15
READ = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
# Those that clients send and we do not read. No other is repeated: a header can hold anything.
NAMED = {"br", "zstd", "compress", "x-compress", "lz4", "snappy", "aws-chunked", "dcb", "dcz"}
GZIP_BEGINS = b"\x1f\x8b"
ZLIB_METHOD = 8
UTF_8 = {"utf-8", "utf-8-sig"}
NAMES = {"utf-16": "UTF-16", "utf-32": "UTF-32"}
# Enough to see how a text begins.
FIRST_BYTES = 64


class MalformedBody(Refusal):
    status = 400
    text = "The body could not be read as JSON. Send one JSON object, encoded in UTF-8."


class RequestTooLarge(Refusal):
    status = 413
    code = "request_too_large"
    text = "The body is larger than 1 MiB. Send a shorter one."


class UnsupportedContentEncoding(Refusal):
    """400 and not 415, which is not one of the statuses that the API answers."""

    status = 400
    code = "unsupported_content_encoding"


def encoding_of(header: str) -> str | None:
    """How a body with this Content-Encoding is compressed: `gzip`, `deflate`, or None where it is not.

    Raises:
        UnsupportedContentEncoding: in another way, or in several.
    """
    given = [name for name in (part.strip().lower() for part in header.split(",")) if name]
    names = [name for name in given if name != "identity"]
    if len(names) > 1:
        raise UnsupportedContentEncoding(
            f"The header Content-Encoding names more than one encoding. {SEND_PLAIN}"
        )
    if not names:
        return None
    if names[0] not in READ:
        what = f"'{names[0]}'" if names[0] in NAMED else "an encoding"
        raise UnsupportedContentEncoding(
            f"The header Content-Encoding names {what}, which cannot be read here. {SEND_PLAIN}"
        )
    return READ[names[0]]


def decompress(raw: bytes, encoding: str | None) -> bytes:
    """The body behind its compression; never more than `BODY_LIMIT_BYTES` of it are made.

    Raises:
        RequestTooLarge: it becomes larger than that.
        MalformedBody: it is not what the header says, breaks off, or goes on after its end.
    """
    if encoding is None:
        if raw.startswith(GZIP_BEGINS):
            raise MalformedBody(
                "The body is compressed with gzip, and no header says so. "
                "Add the header 'Content-Encoding: gzip', or send it uncompressed."
            )
        return raw
    limit: int = settings.BODY_LIMIT_BYTES
    stream = zlib.decompressobj(_window_bits(raw, encoding))
    try:
        plain = stream.decompress(raw, limit + 1)
    except zlib.error:
        raise MalformedBody(
            f"The header Content-Encoding says {encoding}, and the body is not compressed in this way. "
            "Compress it, or leave the header out."
        ) from None
    if len(plain) > limit:
        raise RequestTooLarge("The body is larger than 1 MiB once it is decompressed. Send less.")
    if not stream.eof:
        raise MalformedBody("The compressed body ended before it was complete. Send it again.")
    if stream.unused_data:
        raise MalformedBody(
            "Something follows the end of the compressed body. Send one stream and nothing after it."
        )
    return plain


def _window_bits(raw: bytes, encoding: str) -> int:
    if encoding == "gzip":
        return GZIP
    # RFC 1950: the method is 8, and the first two bytes are a multiple of 31.
    has_header = raw[:1] and raw[0] & 15 == ZLIB_METHOD and int.from_bytes(raw[:2]) % 31 == 0
    return ZLIB if has_header else BARE


def text_of(raw: bytes) -> str:
    """The body as text, without a byte order mark (BOM).

    RFC 8259, 8.1: JSON is UTF-8, and who reads it may ignore a mark that should not be there.

    Raises:
        MalformedBody: it is UTF-16, UTF-32, or no text.
    """
    encoding = json.detect_encoding(raw)
    if encoding not in UTF_8:
        begins = raw[:FIRST_BYTES].decode(encoding, errors="ignore").lstrip("\ufeff \t\r\n")
        # Bytes that are nothing at all look like UTF-16, too.
        if begins[:1] in {"{", "[", '"'}:
            raise MalformedBody(f"The body is {NAMES[encoding[:6]]}. Send it as UTF-8.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedBody(
            f"The body is not valid UTF-8 at byte {error.start + 1}. Send it as UTF-8."
        ) from None
