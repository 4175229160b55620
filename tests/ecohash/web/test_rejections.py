"""What the server refuses before Django sees it, and when a connection ends."""

import json
from typing import Any

import pytest

from ecohash.web import rejections
from ecohash.wsgi import application
from tests.cast import Person
from tests.ecohash.conftest import Log
from tests.ecohash.web.wire import Answer, ask, line
from tests.recorded.exchange import connections_left_open

pytestmark = pytest.mark.django_db

MODELS = "GET /v1/models HTTP/1.1"
POST = "POST /v1/images/generations HTTP/1.1"
CHUNKED = "Transfer-Encoding: chunked"
SECRET = "CANARY-and-more"


def request(line: str, *headers: str, body: bytes = b"", host: str = "Host: 127.0.0.1") -> bytes:
    return "\r\n".join([line, host, *headers, "", ""]).encode("latin-1") + body


REFUSED = {
    "a long header": (request(MODELS, f"X-Big: {SECRET}{'x' * 9_000}"), 431, "header X-Big is"),
    "a long key": (request(MODELS, f"Authorization: {SECRET * 700}"), 431, "Authorization"),
    "a long cookie": (request(MODELS, f"Cookie: a={'x' * 9_000}"), 431, "delete the cookies"),
    "a header with a secret name": (
        request(MODELS, f"{SECRET}1_2: {'x' * 9_000}"),
        431,
        "A header is longer than 8,190 bytes",
    ),
    "a header without end": (
        f"{MODELS}\r\nX-Big: {'x' * 40_000}".encode(),
        431,
        "header X-Big is longer",
    ),
    "many headers": (request(MODELS, *["X: y"] * 120), 431, "more than 100 headers"),
    "long headers together": (
        request(MODELS, *[f"X: {'y' * 6_000}"] * 6)[:-4],
        431,
        "larger than 32 KiB",
    ),
    "a long address": (request(f"GET /v1/{SECRET * 400} HTTP/1.1"), 414, "4,094 bytes"),
    "another expectation": (request(POST, f"Expect: {SECRET}"), 417, "100-continue"),
    "a compressed transfer": (
        request(POST, "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
        501,
        "Transfer-Encoding must be chunked",
    ),
    "an unknown transfer": (request(POST, f"Transfer-Encoding: {SECRET}"), 501, "chunked"),
    "both lengths": (
        request(POST, CHUNKED, "Content-Length: 4", body=b"0\r\n\r\n"),
        400,
        "Content-Length must be one whole number",
    ),
    "two lengths": (request(POST, *["Content-Length: 4"] * 2), 400, "Content-Length must"),
    "a length of no digits": (request(POST, f"Content-Length: {SECRET}"), 400, "Content-Length"),
    "two hosts": (request(MODELS, "Host: a"), 400, "Host header must be sent once"),
    "no colon": (request(MODELS, SECRET), 400, "no colon"),
    "a NUL": (request(MODELS, f"X: {SECRET}\0"), 400, "control characters"),
    "a header on two lines": (request(MODELS, "X: y", f" {SECRET}"), 400, "on one line"),
    "an odd name": (request(MODELS, f"{SECRET} x: y"), 400, "name of a header"),
    "a small method": (request("get /v1/models HTTP/1.1"), 400, "capital letters"),
    "an odd method": (request(f"{SECRET} /v1/models HTTP/1.1"), 400, "capital letters"),
    "line feeds": (f"{MODELS}\nHost: a\n\n".encode(), 400, "CR LF"),
    "no HTTP": (b"nonsense\r\n\r\n", 400, "not HTTP"),
    "HTTP/0.9": (b"GET /v1/models\r\n", 400, "not HTTP"),
    "HTTP/2 by name": (request("GET /v1/models HTTP/2.0"), 400, "HTTP/1.1"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/2 is not spoken"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x81" * 500, 400, "http://"),
    "an authority": (request(f"GET {SECRET}:80 HTTP/1.1"), 400, "not HTTP"),
}


@pytest.mark.parametrize(("sent", "status", "said"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_of_the_server_is_an_error_like_all(
    log: Log, sent: bytes, status: int, said: str
) -> None:
    answer = ask(sent)
    assert answer.status == status
    assert said in answer.message
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    assert int(answer.headers["openai-processing-ms"]) >= 0
    assert (answer.headers["connection"], answer.kept) == ("close", False)
    [entry] = [entry for entry in log() if entry["message"] == "request"]
    assert (entry["request_id"], entry["status"]) == (answer.headers["x-request-id"], status)
    for text in (answer.body.decode(), json.dumps(log())):
        assert SECRET not in text


def test_a_status_that_clients_retry_says_not_to() -> None:
    assert ask(REFUSED["an unknown transfer"][0]).headers["x-should-retry"] == "false"
    assert "x-should-retry" not in ask(REFUSED["no colon"][0]).headers


@pytest.mark.parametrize(
    ("first", "more", "page"),
    [
        ("GET / HTTP/1.1", "", True),
        ("GET /dashboard HTTP/1.1", "", True),
        ("POST /login HTTP/1.1", "Accept: text/html,*/*", True),
        ("POST /login HTTP/1.1", "", False),
        ("GET /v1 HTTP/1.1", "Accept: text/html", False),
        ("GET /%761/models HTTP/1.1", "Accept: text/html", False),
        ("GET http://127.0.0.1/v1/models HTTP/1.1", "", False),
        ("GET /i/x.png HTTP/1.1", "", False),
    ],
)
def test_a_browser_gets_a_page(first: str, more: str, *, page: bool) -> None:
    answer = ask(request(first, more or "X: y", f"Cookie: a={'x' * 9_000}"))
    assert answer.status == 431
    assert answer.headers["content-type"].startswith("text/html" if page else "application/json")
    assert b"delete the cookies" in answer.body
    assert answer.headers["x-request-id"].startswith("req_")
    assert ("access-control-allow-origin" in answer.headers) is not page


def test_head_is_answered_without_a_body() -> None:
    answer = ask(request("HEAD /v1/models HTTP/1.1", f"X: {'x' * 9_000}"))
    assert (answer.status, answer.body) == (431, b"")
    assert int(answer.headers["content-length"]) > 0


def test_an_application_that_fails_whole_is_our_fault(
    monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    def fail(*_args: object) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr("tests.ecohash.web.wire.application", fail)
    answer = ask(request(MODELS))
    assert (answer.status, answer.error["type"]) == (500, "server_error")
    assert "x-request-id" in answer.message
    [fault] = [line for line in log() if line["message"] == "request failed"]
    assert fault["request_id"] == answer.headers["x-request-id"]
    assert SECRET not in json.dumps(log())
    assert ask(request("GET / HTTP/1.1")).headers["content-type"].startswith("text/html")


# --- bodies -----------------------------------------------------------------------------------------

JSON = "Content-Type: application/json"


def post(person: Person, *headers: str, body: bytes, then_gone: bool = False) -> Answer:
    key = f"Authorization: Bearer {person.secret}"
    return ask(request(POST, key, JSON, *headers, body=body), then_gone=then_gone)


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}xx0\r\n\r\n",
        b"2;=\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n",
        b"2\r\n{}\r\n0\r\nContent-Length: 2\r\n\r\n",
        b"99\r\n{}",
        b"2\r\n{}\r\n",
        b"",
    ],
)
def test_chunks_that_cannot_be_read_are_the_clients_fault(alice: Person, body: bytes) -> None:
    answer = post(alice, CHUNKED, body=body, then_gone=True)
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert "chunks are malformed" in answer.message


def test_a_body_shorter_than_its_length_is_no_body(alice: Person) -> None:
    answer = post(alice, "Content-Length: 99", body=b"{}", then_gone=True)
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert "ended before it was complete" in answer.message
    form = "Content-Type: application/x-www-form-urlencoded"
    sent = request("POST /login HTTP/1.1", form, "Content-Length: 99", body=b"login=a&password=b")
    assert ask(sent, then_gone=True).status == 400


def test_a_body_with_extensions_and_trailers_is_read(alice: Person) -> None:
    body = b'2;a="b"\r\n{"\r\n5 ; c\r\nn": 1\r\n1\r\n}\r\n000\r\nX-Sum: 1\r\n\r\n'
    answer = post(alice, CHUNKED, body=body)
    assert (answer.status, answer.error["code"]) == (400, "missing_required_parameter")
    assert (answer.headers["connection"], answer.kept) == ("keep-alive", True)


def test_who_waits_to_be_told_so_sends_a_body(alice: Person) -> None:
    answer = post(alice, "Expect: 100-Continue", "Content-Length: 2", body=b"{}")
    assert answer.error["code"] == "missing_required_parameter"


# --- what is said about the connection is done ------------------------------------------------------

HEALTH = "GET /healthz HTTP/1.1"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (request(HEALTH), "keep-alive"),
        (request(HEALTH, "Connection: close"), "close"),
        (request(HEALTH, "Connection: TE, Close"), "close"),
        (request(HEALTH, "Connection: TE", "Connection: close"), "close"),
        (request(HEALTH, "Connection: keep-alive"), "keep-alive"),
        (request("GET /healthz HTTP/1.0"), "close"),
        (request("GET /v1/models HTTP/1.0", "Connection: keep-alive"), "keep-alive"),
        (request("HEAD /healthz HTTP/1.1"), "keep-alive"),
        (request("OPTIONS /v1/models HTTP/1.1"), "keep-alive"),
        (request("DELETE /login HTTP/1.1", "Content-Length: 5", body=b"12345"), "keep-alive"),
        (request(POST, "Content-Length: 5", body=b"12345"), "keep-alive"),
        (request(POST, "Content-Length: 5", body=b"123"), "close"),
        (request(POST, CHUNKED, body=b"5\r\n123"), "close"),
        (request(POST, CHUNKED, body=b"zz\r\n"), "close"),
        (request(POST, "Content-Length: 99999999", body=b"1" * 90_000), "close"),
        (request("CONNECT a:80 HTTP/1.1"), "close"),
    ],
)
def test_the_connection_ends_exactly_where_the_answer_says_so(sent: bytes, said: str) -> None:
    answer = ask(sent)
    assert (answer.headers["connection"], answer.kept) == (said, said == "keep-alive")


def test_a_stopping_server_says_so() -> None:
    answer = ask(request(HEALTH), stopping=True)
    assert (answer.headers["connection"], answer.kept) == ("close", False)


def test_a_server_that_is_stopped_meanwhile_says_so() -> None:
    with line() as (connection, client, worker), connections_left_open():

        def stop_and_answer(*call: Any) -> Any:
            worker.alive = False
            return application(*call)

        worker.wsgi = stop_and_answer
        connection.head += request(HEALTH)
        connection.feed_parser()
        connection.sock.begin_request(lambda: None)
        assert not worker.handle(connection)
        assert b"\r\nConnection: close\r\n" in client.recv(65_536)


def test_a_body_that_arrives_behind_the_answer_changes_nothing() -> None:
    """The answer said that the connection ends."""
    with line() as (connection, client, worker), connections_left_open():

        def answer_and_deliver(*call: Any) -> Any:
            yield from application(*call)
            client.sendall(b"45")

        worker.wsgi = answer_and_deliver
        connection.head += request(POST, "Content-Length: 5", body=b"123")
        connection.feed_parser()
        connection.sock.begin_request(lambda: None)
        assert not worker.handle(connection)
        assert b"\r\nConnection: close\r\n" in client.recv(65_536)


@pytest.mark.parametrize("path", ["http://127.0.0.1/v1/models", "HTTP://127.0.0.1:8000/v1/models"])
def test_an_address_may_be_absolute(alice: Person, path: str) -> None:
    answer = ask(request(f"GET {path} HTTP/1.1", f"Authorization: Bearer {alice.secret}"))
    assert answer.status == 200


def test_the_texts_need_nothing_of_the_request() -> None:
    assert rejections.request_of(b"GET http://[ HTTP/1.1\r\n") is None
    assert rejections.request_of(b"") is None
