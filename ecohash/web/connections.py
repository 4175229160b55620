"""A connection of the web server: its socket, its parser, and the count of connections by address.

Sockets never block. The loop of `worker` only does what can be done at once; a thread that must wait
for its peer waits in `ConnectionSocket.wait_until`, for a limited time in each request.
"""

import os
import re
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders, UnsupportedTransferCoding
from gunicorn.http.message import Request as GunicornRequest
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader

from accounts.http.addresses import caller_address, network_of

# A head that is larger is refused: an unfinished one is memory that anybody can ask for.
HEAD_BYTES = 32 * 1024
READ_BYTES = 16 * 1024
# Of a body that has not arrived, the loop holds this much before a thread gets it.
HELD_BODY_BYTES = 32 * 1024
# All the waiting for one body, and for one answer before its bytes are counted.
BODY_SECONDS = 30.0
ANSWER_SECONDS = 20.0
SLOWEST_BYTES_PER_SECOND = 32 * 1024
# Only so much is searched for what cannot be HTTP: each piece that arrives is searched again.
FIRST_LINE_BYTES = 4 * 1024
# A thread that waited so long for its peer reports it: its connection may now be shut down.
BLOCKED_AFTER_SECONDS = 0.25
# So much of an unread body is dropped before the answer goes out; with more the connection closes.
SKIPPED_BODY_BYTES = 64 * 1024

# An empty line ends the head. The parser refuses a line feed alone, so that one ends the waiting too.
END_OF_HEAD = re.compile(rb"\r\n\r\n|(?<!\r)\n")
# What cannot become HTTP/1 is not waited for: a TLS hello, or a first line without a version (HTTP/0.9).
NOT_HTTP = re.compile(rb"[^\r\n\x20-\x7e]|(?!\r\n)[^\r\n]*(?<! HTTP/[0-9]\.[0-9])\r\n")
BODY_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)
CHUNKED_BODY = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
# Such a client waits for our answer before it sends the body.
ASKS_FIRST = re.compile(rb"\r\nexpect:", re.IGNORECASE)
# Of a body in chunks: behind the last one, and behind its trailers.
END_OF_CHUNKS = b"\r\n\r\n"


class ConnectionSocket(socket.socket):
    """The non-blocking socket of one connection; `sendall` and `sendfile` wait for a limited time."""

    on_blocked: Callable[[], object]

    def begin_request(self, on_blocked: Callable[[], object]) -> None:
        """Start the time limit of a request; `on_blocked` is called once if the thread waits for long."""
        self.on_blocked = on_blocked
        self.seconds_left = BODY_SECONDS
        self.seconds_waited = 0.0
        self.reported_blocked = False
        self.is_answering = False
        # Read by the loop: true while the thread waits for the peer.
        self.is_waiting = False

    def end_request(self) -> None:
        """Drop the callback, which would keep the connection in memory."""
        del self.on_blocked

    def wait_until(self, event: int) -> None:
        """Return once the socket is ready for this event of `select.poll`.

        Raises:
            TimeoutError: the time for this request is used up.
        """
        poller = select.poll()
        poller.register(self, event)
        self.is_waiting = True
        try:
            if not self.reported_blocked:
                if self._poll(poller, BLOCKED_AFTER_SECONDS - self.seconds_waited):
                    return
                self.reported_blocked = True
                self.on_blocked()
            if not self._poll(poller, self.seconds_left):
                raise TimeoutError
        finally:
            self.is_waiting = False

    def _poll(self, poller: select.poll, seconds: float) -> bool:
        began = time.monotonic()
        ready = poller.poll(max(0, min(seconds, self.seconds_left)) * 1_000)
        spent = time.monotonic() - began
        self.seconds_waited += spent
        self.seconds_left -= spent
        return bool(ready)

    def _extend_deadline(self, size: int) -> None:
        """Allow more time for so many bytes of the answer."""
        if not self.is_answering:
            self.is_answering = True
            self.seconds_left = ANSWER_SECONDS
        self.seconds_left += size / SLOWEST_BYTES_PER_SECOND

    def sendall(self, data: Any, flags: int = 0) -> None:
        view = memoryview(data)
        self._extend_deadline(len(view))
        while view:
            try:
                view = view[self.send(view, flags) :]
            except BlockingIOError:
                self.wait_until(select.POLLOUT)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send the file with one time limit; Python's own has one for each piece."""
        begin = offset
        end = os.fstat(file.fileno()).st_size if count is None else offset + count
        self._extend_deadline(end - offset)
        while offset < end:
            try:
                sent = os.sendfile(self.fileno(), file.fileno(), offset, end - offset)
            except BlockingIOError:
                self.wait_until(select.POLLOUT)
                continue
            if not sent:  # the file became shorter
                break
            offset += sent
        return offset - begin


class RequestReader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """The parser's source: the head from the loop's buffer alone, the body from the socket too."""

    has_head = False
    may_block = True
    # The peer sends no more.
    ended = False

    def chunk(self, size_hint: int | None = None) -> bytes:
        if not self.has_head:
            raise LimitRequestHeaders("the head is larger than the server reads")
        while True:
            try:
                data = bytes(super().chunk(size_hint))
            except BlockingIOError:
                if not self.may_block:
                    raise
                self.sock.wait_until(select.POLLIN)
            else:
                self.ended = not data
                return data


class Request(GunicornRequest):  # type: ignore[misc]  # gunicorn has no types
    # Whether the process stops, asked when the answer begins.
    is_stopping: Callable[[], bool] = staticmethod(lambda: False)
    _closes: bool | None = None

    def set_body_reader(self) -> None:
        """Choose how the body is read.

        Raises:
            UnsupportedTransferCoding: anything but chunked; gunicorn would hand a compressed body on as it is.
        """
        codings = [value for name, value in self.headers if name == "TRANSFER-ENCODING"]
        super().set_body_reader()
        if codings and ",".join(codings).strip().lower() != "chunked":
            raise UnsupportedTransferCoding("a transfer coding that is not read here")

    def should_close(self) -> bool:
        """Whether the connection ends with this request: what the answer says, and what is done behind it.

        It ends too where the view left a body unread that has not arrived. Decided once, when the answer
        begins: the rest of a body may arrive later, and the process may be told to stop.
        """
        if self._closes is None:
            named = ",".join(value for name, value in self.headers if name == "CONNECTION")
            self._closes = (
                "close" in [word.strip().lower() for word in named.split(",")]
                or bool(super().should_close())
                or self.is_stopping()
                or not self.skip_body()
                or self.unreader.ended
            )
        return self._closes

    def skip_body(self) -> bool:
        """Read and drop what has arrived of the body; returns whether that was all of it."""
        if self.body.failed:
            return False
        self.unreader.may_block = False
        try:
            skipped = 0
            while data := self.body.read(8_192):
                skipped += len(data)
                if skipped > SKIPPED_BODY_BYTES:
                    return False
        except Exception:  # noqa: BLE001 - incomplete, malformed or cut off: the connection ends
            return False
        else:
            return True
        finally:
            self.unreader.may_block = True


class Connection:
    """One connection, as the loop keeps it. `server` is the address that accepted it."""

    def __init__(self, cfg: Any, line: ConnectionSocket, client: Any, server: Any) -> None:
        self.sock = line
        self.client = client
        self.server = server
        self.peer = network_of_client(client)
        self.head = bytearray()
        # The head of the request that a thread answers, or what there is of one that is refused.
        self.answered_head = b""
        self._looked = 0
        self._body_begins = 0
        # Which of the loop's queues it is in; None while a thread has it, and once it is closed.
        self.queue: dict[Connection, float] | None = None
        self.drained = 0
        self.is_shut_down = False
        self.source = RequestReader(line)
        self.parser = RequestParser(cfg, line, client)
        self.parser.mesg_class = Request
        self.parser.unreader = self.source

    def head_is_complete(self) -> bool:
        """Whether the head is complete, or known to be wrong. Each byte is looked at once."""
        if not self._body_begins:
            found = END_OF_HEAD.search(self.head, max(0, self._looked - 3))
            self._looked = len(self.head)
            self._body_begins = found.end() if found else 0
        if self._body_begins or len(self.head) > HEAD_BYTES:
            return True
        return len(self.head) <= FIRST_LINE_BYTES and bool(NOT_HTTP.match(self.head))

    def body_has_arrived(self) -> bool:
        """Whether a thread need not wait for the body that belongs to the complete head, as far as we hold one.

        What the head says wrongly is left to the parser: then the answer is yes.
        """
        head = bytes(self.head[: self._body_begins])
        held = len(self.head) - self._body_begins
        if held >= HELD_BODY_BYTES or ASKS_FIRST.search(head):
            return True
        if CHUNKED_BODY.search(head):
            return self.head.endswith(END_OF_CHUNKS)
        length = BODY_LENGTH.search(head)
        return not length or held >= int(length[1])

    def feed_parser(self) -> None:
        """Move the bytes that were read to the parser."""
        received = bytes(self.head)
        self.source.unread(received)
        self.answered_head = received[: self._body_begins or HEAD_BYTES]
        self.source.has_head = False
        self.head = bytearray()
        self._looked = self._body_begins = 0

    def take_leftover(self) -> None:
        """Move the bytes behind the request back: the next request begins with them."""
        self.head = bytearray(self.source.take_buffered())

    def caller_network(self) -> str:
        """The network of the request's client, who may be behind our proxies."""
        headers = self.parser.mesg.headers if self.parser.mesg else []
        forwarded = ",".join(value for name, value in headers if name == "X-FORWARDED-FOR")
        meta = {"REMOTE_ADDR": address_of(self.client), "HTTP_X_FORWARDED_FOR": forwarded}
        return network_of(caller_address(meta))


def address_of(client: Any) -> str:
    """The host of a socket's address; empty for a Unix socket."""
    return str(client[0]) if isinstance(client, tuple) else ""


def network_of_client(client: Any) -> str:
    """The network of the peer: an IPv4 address, or a /64 of IPv6."""
    return network_of(caller_address({"REMOTE_ADDR": address_of(client)}))


class ConnectionsByAddress:
    """Connections counted by address. Each step takes the same time however many there are."""

    def __init__(self, limit: float, grace_seconds: float) -> None:
        self._limit = limit
        self._grace = grace_seconds
        self._address: dict[Connection, str] = {}
        # Oldest first.
        self._since: dict[str, dict[Connection, float]] = {}
        # The addresses that have so many connections; the last is never empty, except the first.
        self._with: list[dict[str, None]] = [{}]
        self._crowded: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._address)

    def add(self, connection: Connection, address: str, now: float) -> None:
        """Count the connection for this address, as its newest."""
        self.discard(connection)
        self._address[connection] = address
        group = self._since.setdefault(address, {})
        group[connection] = now
        self._resize(address, len(group) - 1, len(group))

    def discard(self, connection: Connection) -> None:
        """Remove the connection, if it is counted."""
        address = self._address.pop(connection, None)
        if address is None:
            return
        group = self._since[address]
        del group[connection]
        self._resize(address, len(group) + 1, len(group))
        if not group:
            del self._since[address]

    def _resize(self, address: str, before: int, after: int) -> None:
        self._with[before].pop(address, None)
        if after == len(self._with):
            self._with.append({})
        if after:
            self._with[after][address] = None
        while len(self._with) > 1 and not self._with[-1]:
            self._with.pop()
        if after > self._limit:
            self._crowded[address] = None
        else:
            self._crowded.pop(address, None)

    def pop_surplus(self, now: float) -> Iterator[Connection]:
        """Remove and yield the oldest of each address above the limit, once their grace period is over."""
        for address in list(self._crowded):
            group = self._since[address]
            while address in self._crowded:
                connection, since = next(iter(group.items()))
                if now - since < self._grace:
                    break
                self.discard(connection)
                yield connection

    def pop(self) -> Connection:
        """Remove and return the oldest of the address that has the most.

        Raises:
            KeyError: there is none.
        """
        if not self._address:
            raise KeyError
        connection = next(iter(self._since[next(iter(self._with[-1]))]))
        self.discard(connection)
        return connection
