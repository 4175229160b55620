"""The blocks of docs/proxies.md, each in the real proxy, in front of a server that tells what it was sent."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django import Settings

from accounts.http.addresses import caller_address
from tests import servers

pytestmark = pytest.mark.services

HOST = "images.example.com"
ANSWER_BYTES = 3_000_000  # base64 of a large picture
BODY_BYTES = 1_500_000  # more than EcoHash takes, and ours to refuse
PATIENCE_SECONDS = 20


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers and the length of the body that came, and so many bytes beside."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = {"headers": self.headers.items(), "body": len(body), "padding": "x" * ANSWER_BYTES}
        answer = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files with a certificate for HOST and its key; the first one holds the key too."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "both.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    (folder / "key.pem").write_bytes(private)
    return folder / "both.pem", folder / "key.pem"


def block(language: str) -> str:
    """The block of that language in the docs."""
    text = (servers.ROOT / "docs" / "proxies.md").read_text()
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def in_nginx(text: str, port: int, pem: Path, key: Path, folder: Path) -> list[str]:
    text = text.replace("listen 443", f"listen 127.0.0.1:{port}")
    text = text.replace(f"/etc/ssl/{HOST}.pem", str(pem)).replace(f"/etc/ssl/{HOST}.key", str(key))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid nginx.pid; error_log nginx.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy;\n{text}\n}}"
    )
    return ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "nginx.log"]


def in_caddy(text: str, port: int, pem: Path, key: Path, folder: Path) -> list[str]:
    text = text.replace(f"{HOST} {{", f"{HOST}:{port} {{\n\ttls {pem} {key}")
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + text)
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def in_haproxy(text: str, port: int, pem: Path, key: Path, folder: Path) -> list[str]:
    text = text.replace("bind :443", f"bind 127.0.0.1:{port}").replace(
        f"/etc/ssl/{HOST}.pem", str(pem)
    )
    # The twin has no such page.
    (folder / "haproxy.cfg").write_text(text.replace("option httpchk GET /healthz", ""))
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


PROXIES: dict[str, Callable[..., list[str]]] = {
    "nginx": in_nginx,
    "caddyfile": in_caddy,
    "haproxy": in_haproxy,
}


@pytest.fixture(params=PROXIES)
def proxy(
    request: pytest.FixtureRequest,
    upstream: int,
    certificate: tuple[Path, Path],
    tmp_path: Path,
) -> Iterator[int]:
    """The port of a real proxy with that block."""
    port = servers.free_port()
    text = block(request.param).replace("127.0.0.1:8000", f"127.0.0.1:{upstream}")
    words = PROXIES[request.param](text, port, *certificate, tmp_path)
    assert shutil.which(words[0], path=f"{os.environ['PATH']}:/usr/sbin"), (
        f"{words[0]} is not installed (Debian: apt-get install nginx-light caddy haproxy)"
    )
    with started(words, tmp_path, port):
        yield port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def started(words: list[str], folder: Path, port: int) -> Iterator[None]:
    surroundings = os.environ | {
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            words, cwd=folder, env=surroundings, stdout=output, stderr=output
        )
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while not listens(port):
            assert process.poll() is None and time.monotonic() < until, (
                folder / "output"
            ).read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def post(port: int, pem: Path, *, body: bytes = b"{}", **headers: str) -> dict[str, Any]:
    """What the twin was sent, by way of the proxy."""
    trusting = ssl.create_default_context(cafile=str(pem))
    head = ["POST / HTTP/1.1", f"Host: {HOST}", f"Content-Length: {len(body)}"]
    head += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as plain,
        trusting.wrap_socket(plain, server_hostname=HOST) as line,
    ):
        line.sendall("\r\n".join([*head, "Connection: close", "", ""]).encode() + body)
        raw = b"".join(iter(lambda: line.recv(65_536), b""))
    head_of_answer, _, answer = raw.partition(b"\r\n\r\n")
    assert head_of_answer.startswith(b"HTTP/1.1 200"), head_of_answer
    told: dict[str, Any] = json.loads(answer)
    return told


def meta_of(told: dict[str, Any]) -> dict[str, str]:
    """As gunicorn gives the headers to Django: several of one name, joined."""
    meta: dict[str, str] = {"REMOTE_ADDR": "10.0.0.1"}
    for name, value in told["headers"]:
        key = f"HTTP_{name.upper().replace('-', '_')}"
        meta[key] = f"{meta[key]},{value}" if key in meta else value
    return meta


def test_a_block_of_the_docs_passes_on_what_ecohash_needs(
    proxy: int, certificate: tuple[Path, Path], settings: Settings
) -> None:
    told = post(proxy, certificate[0], X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="http")
    meta = meta_of(told)
    assert meta["HTTP_HOST"] == HOST
    assert meta["HTTP_X_FORWARDED_PROTO"] == "https"
    settings.TRUSTED_PROXIES = 1
    assert str(caller_address(meta)) == "127.0.0.1", "a caller must not choose an address"
    assert len(told["padding"]) == ANSWER_BYTES


def test_a_body_that_is_too_large_reaches_ecohash_which_refuses_it_in_its_own_form(
    proxy: int, certificate: tuple[Path, Path]
) -> None:
    assert post(proxy, certificate[0], body=b"x" * BODY_BYTES)["body"] == BODY_BYTES


@pytest.mark.parametrize(
    ("language", "directive"),
    [
        ("nginx", r"proxy_read_timeout (\d+)s;"),
        ("caddyfile", r"response_header_timeout (\d+)s"),
        ("haproxy", r"timeout server (\d+)s"),
    ],
)
def test_a_block_of_the_docs_waits_longer_than_an_image_may_take(
    settings: Settings, language: str, directive: str
) -> None:
    found = re.search(directive, block(language))
    assert found and int(found[1]) > settings.REQUEST_DEADLINE_SECONDS
