"""A proxy between a client and the platform that cuts answers off: the platform sees as much of it as behind a real one.

Buffering, as nginx does by default, it takes the whole answer before the client gets a byte, so the
platform has written all of it. Streaming, it passes on what comes, and hangs up on both when it cuts.
"""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

READ_BYTES = 16 * 1024
PATIENCE_SECONDS = 60


@dataclass
class CuttingProxy:
    """What the proxy does; `cut` may be called again between two calls of a client."""

    upstream: int
    buffers: bool
    port: int = 0
    # Bytes of the answer, head and all, that a client still gets; negative: all but so many.
    at: int = 0
    times: int = 0
    # With a reset, as of a network that breaks; without, as of a server that closes.
    resets: bool = True
    answers_cut: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def cut(self, *, at: int, times: int = 1, resets: bool = True) -> None:
        """Cut the next `times` answers after `at` bytes."""
        self.at, self.times, self.resets, self.answers_cut = at, times, resets, 0

    def is_next_cut(self) -> bool:
        with self._lock:
            if self.answers_cut >= self.times:
                return False
            self.answers_cut += 1
            return True


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    proxy: CuttingProxy


class _Exchange(socketserver.BaseRequestHandler):
    """One request and its answer; the connection ends with it."""

    server: _Server

    def handle(self) -> None:
        client: socket.socket = self.request
        client.settimeout(PATIENCE_SECONDS)
        try:
            request = read_request(client)
            if not request:
                return
            proxy = self.server.proxy
            upstream = socket.create_connection(
                ("127.0.0.1", proxy.upstream), timeout=PATIENCE_SECONDS
            )
            with closing(upstream):
                upstream.sendall(request)
                self.pass_on(upstream, client, proxy)
        except OSError:
            # The client has hung up by itself.
            return

    def pass_on(self, upstream: socket.socket, client: socket.socket, proxy: CuttingProxy) -> None:
        head = read_head(upstream)
        total = len(head) + (length if (length := body_length(head)) is not None else 0)
        limit = None
        if proxy.is_next_cut():
            limit = proxy.at if proxy.at >= 0 else total + proxy.at
        chunks: Iterator[bytes] = pieces(upstream, head, total)
        if proxy.buffers:
            chunks = iter([b"".join(chunks)])
        sent = 0
        for chunk in chunks:
            part = chunk if limit is None else chunk[: limit - sent]
            client.sendall(part)
            sent += len(part)
            if limit is not None and sent >= limit:
                hang_up(client, resets=proxy.resets)
                return


def pieces(upstream: socket.socket, first: bytes, total: int) -> Iterator[bytes]:
    """The answer as it comes, up to its end; `first` has been read already."""
    yield first
    left = total - len(first)
    while left > 0 and (data := upstream.recv(READ_BYTES)):
        yield data
        left -= len(data)


def hang_up(client: socket.socket, *, resets: bool) -> None:
    if resets:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def read_head(source: socket.socket) -> bytes:
    """The head of a message, and what came with it of the body."""
    head = b""
    while b"\r\n\r\n" not in head and (data := source.recv(READ_BYTES)):
        head += data
    return head


def body_length(message: bytes) -> int | None:
    """How many bytes of its body are not in `message` yet; None without a Content-Length."""
    head, _, body = message.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value) - len(body)
    return None


def read_request(client: socket.socket) -> bytes:
    """A whole request, with `Connection: close`, as nginx sends it on; empty when none came."""
    message = read_head(client)
    left = body_length(message) or 0
    while left > 0 and (data := client.recv(READ_BYTES)):
        message += data
        left -= len(data)
    head, end, body = message.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close"]) + end + body if head else b""


@contextmanager
def cutting_proxy(upstream: int, *, buffers: bool) -> Iterator[CuttingProxy]:
    """A proxy in front of that port of this machine, while inside."""
    proxy = CuttingProxy(upstream, buffers)
    with _Server(("127.0.0.1", 0), _Exchange) as server:
        server.proxy, proxy.port = proxy, server.server_address[1]
        thread: Any = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
