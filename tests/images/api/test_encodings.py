"""Bodies that are right by the standard, or nearly: read, or refused for the reason that they have."""

import gzip
import json
import zlib
from typing import Any

import pytest

from tests.calls import BODY, GENERATIONS, call, error_of, generate, verdict
from tests.cast import Person

PLAIN = json.dumps(BODY).encode()
# Without the time, so that each process collects the same tests.
GZIPPED = gzip.compress(PLAIN, mtime=0)
BOM = b"\xef\xbb\xbf"
REFUSED = "invalid_request_error"
MALFORMED = (400, REFUSED, None, None)
UNSUPPORTED = (400, REFUSED, "unsupported_content_encoding", None)
# What a call that was read is answered with: its caller has no credit.
READ = (429, "insufficient_quota", "insufficient_quota", None)


def post(person: Person, body: bytes, encoding: str | None = None, **options: Any) -> Any:
    headers = person.headers | ({} if encoding is None else {"Content-Encoding": encoding})
    return call("POST", GENERATIONS, body, headers=headers, **options)


def without_header(plain: bytes) -> bytes:
    """Deflate as some servers send it: RFC 1951 without RFC 1950 around it."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(plain) + stream.flush()


@pytest.mark.parametrize("body", [BOM + PLAIN, BOM + b"\r\n" + PLAIN + b"\n", BOM + b"  " + PLAIN])
def test_a_byte_order_mark_is_accepted(unfunded: Person, body: bytes) -> None:
    assert verdict(post(unfunded, body)) == READ


def test_a_byte_order_mark_behind_compression_is_accepted(unfunded: Person) -> None:
    assert verdict(post(unfunded, gzip.compress(BOM + PLAIN), "gzip")) == READ


@pytest.mark.parametrize("body", [BOM, BOM * 2 + PLAIN, PLAIN + BOM])
def test_a_mark_in_another_place_is_no_json(unfunded: Person, body: bytes) -> None:
    assert verdict(post(unfunded, body)) == MALFORMED


@pytest.mark.parametrize("width", [16, 32])
@pytest.mark.parametrize("order", ["", "-le", "-be"])
def test_utf_16_and_32_are_refused_by_name(unfunded: Person, width: int, order: str) -> None:
    response = post(unfunded, json.dumps(BODY, indent=1).encode(f"utf-{width}{order}"))
    assert verdict(response) == MALFORMED
    assert error_of(response)["message"] == f"The body is UTF-{width}. Send it as UTF-8."


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        ('{"prompt": "\u00fc"}'.encode("latin-1"), "not valid UTF-8 at byte 13"),
        (b'{"model": "x",}', "line 1, column 15"),
        (b'{"n": 1}\n{}', "line 2, column 1"),
        (b'{"seed": NaN}', "NaN"),
        (b'{"seed": -Infinity}', "-Infinity"),
        (b'{"seed": 1e999}', "too large"),
        (b'{"seed": ' + b"9" * 5_000 + b"}", "too many digits"),
    ],
)
def test_a_body_is_refused_for_the_reason_that_it_has(
    unfunded: Person, body: bytes, reason: str
) -> None:
    response = post(unfunded, body)
    assert verdict(response) == MALFORMED
    assert reason in error_of(response)["message"]


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [
        ("gzip", GZIPPED),
        ("GZIP", GZIPPED),
        ("x-gzip", GZIPPED),
        ("identity, gzip", GZIPPED),
        ("deflate", zlib.compress(PLAIN)),
        ("deflate", without_header(PLAIN)),
        ("identity", PLAIN),
        ("", PLAIN),
    ],
)
def test_a_compressed_body_is_read(unfunded: Person, encoding: str, compressed: bytes) -> None:
    assert verdict(post(unfunded, compressed, encoding)) == READ


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "deflate, br", "eco_key"])
def test_another_compression_is_refused_by_name(unfunded: Person, encoding: str) -> None:
    response = post(unfunded, PLAIN, encoding)
    assert verdict(response) == UNSUPPORTED
    message = error_of(response)["message"]
    assert "Content-Encoding" in message
    assert ("'br'" in message) == (encoding == "br")
    assert "eco_key" not in message


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("gzip", PLAIN, "not compressed"),
        ("gzip", b"", "ended before"),
        ("gzip", GZIPPED[:-4], "ended before"),
        ("gzip", GZIPPED[:12], "ended before"),
        ("gzip", GZIPPED + b"more", "follows the end"),
        ("gzip", GZIPPED * 2, "follows the end"),
        ("gzip", GZIPPED[:-8] + b"\0" * 8, "not compressed"),
        ("deflate", PLAIN, "not compressed"),
        ("deflate", zlib.compress(PLAIN)[:-1], "ended before"),
        (None, GZIPPED, "no header says so"),
        ("identity", GZIPPED, "no header says so"),
    ],
)
def test_a_compression_that_is_broken_is_named(
    unfunded: Person, encoding: str | None, body: bytes, reason: str
) -> None:
    response = post(unfunded, body, encoding)
    assert verdict(response) == MALFORMED
    assert reason in error_of(response)["message"]


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, without_header])
def test_what_becomes_larger_than_a_body_may_be_is_too_large(
    unfunded: Person, compress: Any
) -> None:
    encoding = "gzip" if compress is gzip.compress else "deflate"
    fits = PLAIN + b" " * (1024 * 1024 - len(PLAIN))
    assert verdict(post(unfunded, compress(fits), encoding)) == READ
    for body in (fits + b" ", b"\0" * 20_000_000):
        too_large = (413, REFUSED, "request_too_large", None)
        assert verdict(post(unfunded, compress(body), encoding)) == too_large


@pytest.mark.parametrize(
    ("content_type", "named"),
    [
        ("text/json", "'text/json'"),
        ("Application/VND.API+JSON; charset=utf-8", "'application/vnd.api+json'"),
        ("multipart/form-data; boundary=x", "'multipart/form-data'"),
        ("", "missing"),
    ],
)
def test_another_content_type_is_named(unfunded: Person, content_type: str, named: str) -> None:
    response = post(unfunded, PLAIN, content_type=content_type)
    assert verdict(response) == (400, REFUSED, "unsupported_content_type", None)
    assert named in error_of(response)["message"]


@pytest.mark.parametrize(
    "secret", [f"eco_{'a' * 38}", f"text/sk-{'1' * 20}", "a red fox", "x" * 61]
)
def test_what_is_no_media_type_is_not_repeated(unfunded: Person, secret: str) -> None:
    assert secret not in post(unfunded, PLAIN, content_type=secret).content.decode()


@pytest.mark.parametrize("fields", [{"n": 1.0}, {"seed": 7.0}, {"seed": 4_294_967_295.0}])
def test_a_whole_number_may_be_written_with_a_point(
    unfunded: Person, fields: dict[str, Any]
) -> None:
    assert verdict(generate(unfunded, **fields)) == READ


def test_a_whole_number_may_be_written_with_an_exponent(unfunded: Person) -> None:
    assert verdict(post(unfunded, PLAIN[:-1] + b', "n": 1e0, "seed": 1E3}')) == READ


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"n": 1.5}, "invalid_type"),
        ({"seed": 0.1}, "invalid_type"),
        ({"n": 2.0}, "integer_above_max_value"),
        ({"n": 0.0}, "integer_below_min_value"),
        ({"seed": -1.0}, "integer_below_min_value"),
        ({"seed": 1e300}, "integer_above_max_value"),
    ],
)
def test_another_number_is_refused_for_what_it_is(
    unfunded: Person, fields: dict[str, Any], code: str
) -> None:
    assert verdict(generate(unfunded, **fields)) == (400, REFUSED, code, next(iter(fields)))
