"""What a stranger sends: requests that no HTTP client would make, bodies that break off, forms of megabytes.

None may be a fault of ours, none may cost much, and a key that is in one may stand in no log.
"""

import re
import socket
import time
import urllib.parse
from dataclasses import dataclass

import pytest

from tests.platform import Platform

pytestmark = pytest.mark.attacks

FORM = "application/x-www-form-urlencoded"
# Where a body is read, and what each door makes of one that it understands but does not accept.
DOORS = {
    "/v1/images/generations": "application/json",
    "/login": FORM,
    "/signup": FORM,
    "/password/reset": FORM,
    "/webhooks/leaked-keys": "application/json",
    "/webhooks/stripe": "application/json",
}


@pytest.fixture(scope="module")
def target(attacked: Platform) -> Platform:
    return attacked


@dataclass(frozen=True)
class Answer:
    """What came back on a socket; status 0 where nothing did."""

    status: int
    raw: bytes
    seconds: float


def send(platform: Platform, raw: bytes, *, shut: bool = True, seconds: float = 20) -> Answer:
    """These bytes on a connection of their own, and all that comes back until the server closes it."""
    started = time.monotonic()
    received = b""
    with socket.create_connection(("127.0.0.1", platform.port), timeout=seconds) as connection:
        try:
            connection.sendall(raw)
            if shut:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                received += piece
        except OSError:
            pass  # The server may close before it has read everything.
    first = re.match(rb"HTTP/1\.\d (\d{3})", received)
    return Answer(int(first[1]) if first else 0, received, time.monotonic() - started)


def request(line: str, *headers: str, body: bytes = b"", host: str = "Host: 127.0.0.1") -> bytes:
    """A request as text; each connection is used once."""
    lines = [line, host, "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


# --- keys in requests that the server refuses before Django sees them -------------------------------

POST = "POST /v1/images/generations HTTP/1.1"
CHUNKED = "Transfer-Encoding: chunked"
JSON = "Content-Type: application/json"


def malformed(key: str, authorization: str) -> dict[str, bytes]:
    """A key in every place of a request that a mistake can put it into."""
    hidden = "".join(f"%{ord(character):02X}" for character in key[:4]) + key[4:]
    chunked = (authorization, JSON, CHUNKED)
    return {
        "in a request line of too many words": request(f"GET /v1/models {key} HTTP/1.1"),
        "in a request line of one word": request(key),
        "as the method": request(f"{key} /v1/models HTTP/1.1"),
        "as a method of letters": request(f"{key[4:20].upper()} /{key} HTTP/1.1"),
        "as the version": request(f"GET /v1/models {key}"),
        "as the whole target": request(f"GET {key} HTTP/1.1"),
        "as a target with an open bracket": request(f"GET http://[{key}/ HTTP/1.1"),
        "in a target with odd characters": request(f"GET /v1/\xe9{key} HTTP/1.1"),
        "in a target that is too long": request(f"GET /v1/{key}{'x' * 5_000} HTTP/1.1"),
        "in a line that ends wrongly": f"GET /{key} HTTP/1.1\nHost: x\n\n".encode(),
        "in a header without a colon": request("GET /v1/models HTTP/1.1", key),
        "in a header's name with a space": request("GET / HTTP/1.1", f"Bearer {key}: x"),
        "in a header with a NUL": request("GET / HTTP/1.1", f"X-Key: {key}\0"),
        "in a header that ends wrongly": request("GET / HTTP/1.1", f"X-Key: {key}\nX: y"),
        "on a line of its own": request("GET / HTTP/1.1", "Authorization: Bearer", f" {key}"),
        "in a header too long": request("GET / HTTP/1.1", f"X: {key}{'x' * 9_000}"),
        "in one of too many headers": request(
            "GET / HTTP/1.1", *[f"X-{n}: {key}" for n in range(120)]
        ),
        "as the host": request("GET / HTTP/1.1", host=f"Host: {key}.example"),
        "as a host twice": request("GET / HTTP/1.1", f"Host: {key}"),
        "as an expectation": request(POST, f"Expect: {key}"),
        "as a length": request(POST, f"Content-Length: {key}"),
        "as a transfer coding": request(POST, f"Transfer-Encoding: {key}"),
        "as a connection's upgrade": request("GET / HTTP/1.1", f"Upgrade: {key}"),
        "as the size of a chunk": request(POST, *chunked, body=f"{key}\r\n\r\n".encode()),
        "as a chunk's extension": request(POST, *chunked, body=f"2;{key}=\r\n{{}}".encode()),
        "behind a chunk": request(POST, *chunked, body=f"2\r\n{{}}{key}\r\n0\r\n\r\n".encode()),
        "as a trailer": request(POST, *chunked, body=f"2\r\n{{}}\r\n0\r\n{key}\r\n\r\n".encode()),
        "as the size of a form's chunk": request(
            "POST /login HTTP/1.1", f"Content-Type: {FORM}", CHUNKED, body=f"{key}\r\n\r\n".encode()
        ),
        "as the size of a webhook's chunk": request(
            "POST /webhooks/stripe HTTP/1.1", JSON, CHUNKED, body=f"{key}\r\n\r\n".encode()
        ),
        "in the path of a page": request(f"GET /{key} HTTP/1.1"),
        "in the path, percent-encoded": request(f"GET /{hidden} HTTP/1.1"),
        "in a query with a NUL": request(f"GET /v1/key?{key}=%00 HTTP/1.1"),
        "in a body that breaks off": request(
            POST, authorization, JSON, "Content-Length: 99", body=key.encode()
        ),
        "in another language than HTTP": f"\x16\x03\x01{key}\r\n\r\n".encode(),
        "on no connection's beginning": f"\r\n\r\n{key}".encode(),
    }


def lines_with(platform: Platform, key: str) -> list[str]:
    """Each line of a log, or of the terminal, in which either half of what no page shows of the key stands."""
    middle = key[8:-4].lower()
    halves = middle[: len(middle) // 2], middle[len(middle) // 2 :]
    texts = {path.name: path.read_text(errors="replace") for path in platform.log_dir.iterdir()}
    return [
        f"{name}: {line}"
        for name, text in {**texts, "terminal": platform.terminal}.items()
        for line in text.splitlines()
        if any(half in line.lower() for half in halves)
    ]


def test_no_malformed_request_puts_a_key_into_a_log(target: Platform) -> None:
    key = target.api_key
    authorization = f"Authorization: Bearer {key}"
    requests = malformed(key, authorization)
    answers = {place: send(target, raw) for place, raw in requests.items()}
    assert lines_with(target, key) == []
    # The search looks where such lines are written, and what was wrong is still told.
    assert "InvalidRequestLine" in (target.log_dir / "web.log").read_text()
    # 501: a transfer coding that nobody knows.
    faults = {
        place: one.raw[:200] for place, one in answers.items() if one.status in {500, 502, 503}
    }
    assert faults == {}
    assert target.status("/healthz") == 200


# --- bodies that nobody can read --------------------------------------------------------------------


@pytest.mark.parametrize("depth", [65, 500, 940, 5_000, 100_000])
def test_json_that_is_nested_deeply_is_refused(target: Platform, depth: int) -> None:
    body = b'{"model": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    headers = (f"Authorization: Bearer {target.api_key}", JSON, f"Content-Length: {len(body)}")
    answer = send(target, request(POST, *headers, body=body), shut=False)
    assert answer.status == 400
    assert b"nested" in answer.raw


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}xx0\r\n\r\n",
        b"2;=\r\n{}\r\n0\r\n\r\n",
        b"9" * 9_000,
        b"99\r\n{}",
        b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n",
        b"",
    ],
    ids=lambda body: ascii(body)[:24],
)
def test_a_chunked_body_that_is_broken_is_the_clients_fault(
    target: Platform, door: str, body: bytes
) -> None:
    # With a key, a page would be refused before anything is read.
    key = [f"Authorization: Bearer {target.api_key}"] if door.startswith("/v1") else []
    headers = (*key, f"Content-Type: {DOORS[door]}", CHUNKED)
    answer = send(target, request(f"POST {door} HTTP/1.1", *headers, body=body))
    assert 400 <= answer.status < 500
    if door.startswith("/v1"):
        assert answer.status == 400
        assert b"Send it again" in answer.raw


def test_a_form_without_a_length_signs_in(target: Platform) -> None:
    """As a proxy sends it that streams: in chunks, each in a packet of its own."""
    token = "a" * 32
    account = {name: target.account[name] for name in ("email", "password")}
    form = {
        "csrfmiddlewaretoken": token,
        "login": account["email"],
        "password": account["password"],
    }
    body = urllib.parse.urlencode(form).encode()
    head = request(
        "POST /login HTTP/1.1", f"Cookie: csrftoken={token}", f"Content-Type: {FORM}", CHUNKED
    )
    with socket.create_connection(("127.0.0.1", target.port), timeout=20) as connection:
        connection.sendall(head)
        for start in range(0, len(body), 50):
            piece = body[start : start + 50]
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 302 ")
    assert b"sessionid=" in answer


# --- a form of megabytes ----------------------------------------------------------------------------


class Browser:
    """A signed-in person's, with cookies and the token of the forms."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.cookies = ""
        self.post("/login", login=platform.account["email"], password=platform.account["password"])

    def post(self, path: str, **fields: str) -> Answer:
        self._keep(send(self.platform, request("GET /login HTTP/1.1", f"Cookie: {self.cookies}")))
        token = re.search(r"csrftoken=(\w+)", self.cookies)
        assert token
        body = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1], **fields}).encode()
        headers = (
            f"Cookie: {self.cookies}",
            f"Content-Type: {FORM}",
            f"Content-Length: {len(body)}",
        )
        line = f"POST {path} HTTP/1.1"
        answer = send(self.platform, request(line, *headers, body=body), shut=False, seconds=60)
        self._keep(answer)
        return answer

    def _keep(self, answer: Answer) -> None:
        jar = dict(each.split("=", 1) for each in self.cookies.split("; ") if "=" in each)
        for name, value in re.findall(rb"Set-Cookie: +(\w+)=([^;]*)", answer.raw):
            jar[name.decode()] = value.decode()
        self.cookies = "; ".join(f"{name}={value}" for name, value in jar.items())


@pytest.fixture(scope="module")
def browser(target: Platform) -> Browser:
    return Browser(target)


@pytest.mark.parametrize(("lines", "status"), [(180_000, 413), (1_000, 422), (20, 422)])
def test_a_form_of_wrong_networks_is_answered_shortly(
    browser: Browser, lines: int, status: int
) -> None:
    """2.4 MB of them once took 35 s and 1.2 GB, and were answered with 98 MB."""
    networks = "\n".join(f"{number}.0.0.1/8" for number in range(1_000, 1_000 + lines))
    answer = browser.post("/dashboard/keys", name="Laptop", allowed_networks=networks)
    assert answer.status == status
    assert len(answer.raw) < 60_000 + 2 * min(len(networks), 256 * 1024)
    assert answer.seconds < 10
    if lines == 20:
        assert b"And 15 more lines like these" in answer.raw


def test_a_form_with_files_is_refused_before_they_are_read(
    target: Platform, browser: Browser
) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="login"; filename="a"\r\n\r\n'
    whole = head + b"\r\n--x--\r\n"
    for body, length, status in ((head, 2**40, 413), (whole, len(whole), 400)):
        headers = (
            # Without one no form is read at all.
            f"Cookie: {browser.cookies}",
            "Content-Type: multipart/form-data; boundary=x",
            f"Content-Length: {length}",
        )
        answer = send(target, request("POST /login HTTP/1.1", *headers, body=body), shut=False)
        assert answer.status == status


def test_headers_with_thousands_of_parts_are_answered(target: Platform) -> None:
    many = ",".join(["203.0.113.1"] * 600)
    names = ",".join(f"x-stainless-{number}" for number in range(400))
    authorization = f"Authorization: Bearer {target.api_key}"
    for line, status, headers in (
        ("GET /v1/models HTTP/1.1", 200, [f"X-Forwarded-For: {many}", f"Accept: {many}"]),
        ("GET /v1/models HTTP/1.1", 200, ["Cookie: " + "; ".join(["a=b"] * 1_000)]),
        (f"GET /v1/models?{'a&' * 1_900} HTTP/1.1", 200, []),
        (f"GET /login?{'a&' * 1_900} HTTP/1.1", 404, []),
        ("OPTIONS /v1/models HTTP/1.1", 204, [f"Access-Control-Request-Headers: {names}"]),
        (POST, 400, [JSON, f"Idempotency-Key: {'k' * 8_000}", "Content-Length: 2"]),
    ):
        body = b"{}" if line == POST else b""
        answer = send(target, request(line, authorization, *headers, body=body), shut=False)
        assert answer.status == status, (line[:40], answer.raw[:300])
        assert answer.seconds < 5
