"""gunicorn's gthread worker with another loop, which a slow or hostile client cannot block.

The loop has a connection until the head of a request is complete, and again when it is idle or
closing: that costs a socket and no thread. Threads answer requests; they read bodies and write
answers with a time limit (`connections`). Where an address has too many connections that no thread
computes for, the oldest is closed; the same happens across all addresses when the process runs out
of connections or threads. A connection that waits for an image is never closed.
"""

import os
import selectors
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from django.conf import settings
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import ThreadWorker

from ecohash.web import rejections
from ecohash.web.connections import READ_BYTES, Connection, ConnectionsByAddress, ConnectionSocket

# For a head to be complete, from the connection or its first byte on.
HEAD_SECONDS = 10.0
# For a body to follow its head before a thread begins with the request. A body that never comes costs no
# thread where its address has too many of them, since those are closed after the grace period.
BODY_HOLD_SECONDS = 3.0
# For the peer to close after the last answer, and how much it may still send meanwhile.
CLOSING_SECONDS = 2.0
CLOSING_BYTES = 2 * 1024 * 1024
# For each connection of the loop when the process is told to stop.
STOP_SECONDS = 2.0
# A new connection is not closed for its address's limit before it could send something.
GRACE_SECONDS = 2.0
# No connection is accepted for so long when the kernel has no handle or memory for another connection.
ACCEPT_PAUSE_SECONDS = 0.5
# Connections and threads kept free for new connections.
SPARE_CONNECTIONS = 64
SPARE_THREADS = settings.PAGE_THREADS // 2


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """One web process. All but `work` and `handle` runs in its main thread, the loop."""

    alive: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The loop's queues, each by the time at which a connection's time ends, the first first.
        self.heads: dict[Connection, float] = {}
        self.bodies: dict[Connection, float] = {}
        self.keepalived_conns: dict[Connection, float] = {}
        self.closing: dict[Connection, float] = {}
        # Where proxies are trusted the peer is one of them, and has all connections.
        behind_proxies = settings.TRUSTED_PROXIES > 0
        limit = settings.CONNECTIONS_PER_ADDRESS
        self.idle = ConnectionsByAddress(float("inf") if behind_proxies else limit, GRACE_SECONDS)
        self.blocked = ConnectionsByAddress(limit, GRACE_SECONDS)
        # Connections that threads have or will have, without those that were shut down.
        self.busy = 0
        self.events = 1
        self.accepts_again_at = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """The loop reads heads by itself, and only those of plain HTTP/1.

        Raises:
            SystemExit: gunicorn is told to speak something else.
        """
        super().check_config(cfg, log)
        if cfg.is_ssl or cfg.proxy_protocol != "off" or "h2" in cfg.http_protocols:
            log.error(
                "EcoHash serves plain HTTP/1.1: end TLS, HTTP/2 and PROXY at a proxy in front."
            )
            raise SystemExit(1)

    # --- the loop -----------------------------------------------------------------------------------

    def run(self) -> NoReturn:
        code = 1
        try:
            self.poller.register(
                self.method_queue.fileno(),
                selectors.EVENT_READ,
                self.method_queue.run_callbacks,
            )
            while self.alive:
                self.run_once()
                if not self.is_parent_alive():
                    self.alive = False
            self.set_accept_enabled(False)
            self.shorten_deadlines()
            until = time.monotonic() + self.cfg.graceful_timeout
            while self.nr_conns and time.monotonic() < until:
                self.run_once()
            code = 0
        except Exception:
            self.log.exception("the web process ends: its loop failed")
        finally:
            end_process(code)

    def run_once(self) -> None:
        """Wait for events, handle them, and close what has expired or is too many."""
        self.notify()
        if self.alive:
            now = time.monotonic()
            self.set_accept_enabled(
                self.nr_conns < self.worker_connections and now >= self.accepts_again_at
            )
        self.wait_for_and_dispatch_events(timeout=self.seconds_until_deadline())
        self.close_expired()
        self.close_surplus()

    def seconds_until_deadline(self) -> float:
        """Seconds until the next deadline; at most one, for the heartbeat."""
        deadlines = [next(iter(queue.values())) for queue in self.queues() if queue]
        return max(0.0, min([1.0, *(deadline - time.monotonic() for deadline in deadlines)]))

    def queues(self) -> tuple[dict[Connection, float], ...]:
        return self.heads, self.bodies, self.keepalived_conns, self.closing

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        events = self.poller.select(timeout)
        self.events = len(events)
        for key, _ in events:
            if isinstance(key.data, Connection):
                self.on_readable(key.data)
            else:
                key.data(key.fileobj)

    def close_expired(self) -> None:
        """Close connections whose time is over, and submit requests whose body did not come in time."""
        now = time.monotonic()
        for queue in self.queues():
            while queue:
                connection, deadline = next(iter(queue.items()))
                if deadline > now:
                    break
                if queue is self.bodies:
                    self.submit(connection)
                else:
                    self.close(connection)

    def close_surplus(self) -> None:
        """Close connections where one address has too many, or the process."""
        now = time.monotonic()
        for connection in self.idle.pop_surplus(now):
            self.close(connection)
        for connection in self.blocked.pop_surplus(now):
            self.shut_down(connection)
        while self.idle and self.nr_conns > self.worker_connections - SPARE_CONNECTIONS:
            self.close(self.idle.pop())
        while self.blocked and self.busy > self.cfg.threads - SPARE_THREADS:
            self.shut_down(self.blocked.pop())

    def shorten_deadlines(self) -> None:
        """Leave each connection of the loop `STOP_SECONDS`, because the process stops."""
        latest = time.monotonic() + STOP_SECONDS
        for queue in self.queues():
            for connection, deadline in queue.items():
                queue[connection] = min(deadline, latest)

    def is_parent_alive(self) -> bool:
        """Whether the master lives; without it the listening sockets are closed at once.

        A worker whose master was killed first answers what it has accepted, which may take a minute.
        Holding the listening socket meanwhile would keep a new master from binding.
        """
        alive: bool = super().is_parent_alive()
        if not alive:
            self.set_accept_enabled(False)
            for listener in self.sockets:
                listener.close()
        return alive

    def handle_quit(self, _signal: int, _frame: Any) -> NoReturn:
        end_process(0)

    # --- connections that the loop has --------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        """Accept as many connections as there were events: one when idle, so that processes share them."""
        for _ in range(self.events):
            try:
                plain, client = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                # The kernel has no handle or memory for another one.
                self.log.warning("a connection was not accepted: %s", os.strerror(error.errno or 0))
                self.make_room()
                return
            line = ConnectionSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())
            line.settimeout(0)
            self.nr_conns += 1
            self.receive(Connection(self.cfg, line, client, listener.getsockname()))

    def make_room(self) -> None:
        """Close the oldest connections, and accept none for a moment: requests need files too.

        The listener stays readable, so trying again at once would be a loop without end.
        """
        self.accepts_again_at = time.monotonic() + ACCEPT_PAUSE_SECONDS
        for _ in range(min(len(self.idle), SPARE_CONNECTIONS // 4)):
            self.close(self.idle.pop())

    def on_readable(self, connection: Connection) -> None:
        if connection.queue is self.closing:
            self.drain(connection)
        elif connection.queue is not None:  # else it was closed by an event before this one
            self.receive(connection)

    def receive(self, connection: Connection) -> None:
        """Read what has arrived of a request, and submit it when it is complete."""
        try:
            data = connection.sock.recv(READ_BYTES)
        except BlockingIOError:
            if connection.queue is None:
                self.watch(connection, self.heads, HEAD_SECONDS)
            return
        except OSError:
            data = b""
        if not data and connection.queue is self.bodies:
            # It sends no more, and may still read: the answer says that the body is incomplete.
            self.submit(connection)
            return
        if not data:
            self.close(connection)
            return
        connection.head += data
        self.check_head(connection)

    def check_head(self, connection: Connection) -> None:
        """Submit a complete request; let an incomplete one wait until its time is over."""
        if not connection.head_is_complete():
            if connection.queue is not self.heads:
                self.watch(connection, self.heads, HEAD_SECONDS)
        elif connection.body_has_arrived():
            self.submit(connection)
        elif connection.queue is not self.bodies:
            self.watch(connection, self.bodies, BODY_HOLD_SECONDS)

    def submit(self, connection: Connection) -> None:
        """Let a thread answer the request."""
        self.unwatch(connection)
        connection.feed_parser()
        self.busy += 1
        self.enqueue_req(connection)

    def watch(self, connection: Connection, queue: dict[Connection, float], seconds: float) -> None:
        """Wait for bytes from the connection, in that queue, at most so long."""
        now = time.monotonic()
        if connection.queue is None:
            self.poller.register(connection.sock, selectors.EVENT_READ, connection)
        else:
            del connection.queue[connection]
        connection.queue = queue
        queue[connection] = now + (seconds if self.alive else min(seconds, STOP_SECONDS))
        self.idle.add(connection, connection.peer, now)

    def unwatch(self, connection: Connection) -> None:
        """Take the connection from its queue and from the poller."""
        if connection.queue is not None:
            del connection.queue[connection]
            connection.queue = None
            self.idle.discard(connection)
            self.poller.unregister(connection.sock)

    def close(self, connection: Connection) -> None:
        """Close a connection that no thread has."""
        self.unwatch(connection)
        self.nr_conns -= 1
        connection.parser = None  # it refers to the socket, which refers to nothing
        connection.sock.close()

    def close_after_answer(self, connection: Connection) -> None:
        """Shut the sending side down, and wait `CLOSING_SECONDS` for the peer to close.

        Closing while unread bytes lie in the socket would reset the connection, and the peer might
        lose the answer (RFC 9112, 9.6).
        """
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close(connection)
        else:
            self.watch(connection, self.closing, CLOSING_SECONDS)
            self.drain(connection)

    def drain(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection.drained += len(data)
        if not data or connection.drained > CLOSING_BYTES:
            self.close(connection)

    # --- connections that a thread has --------------------------------------------------------------

    def enqueue_req(self, connection: Connection) -> None:
        try:
            self.tpool.submit(self.work, connection)
        except RuntimeError:
            # No more threads can be started; the existing ones will take the request.
            self.log.warning("the process cannot start another thread")

    def work(self, connection: Connection) -> None:
        """In a thread: answer one request."""
        keep_alive = False
        try:
            connection.sock.begin_request(
                partial(self.method_queue.defer, self.on_blocked, connection)
            )
            keep_alive = self.handle(connection)
        finally:
            connection.sock.end_request()
            self.method_queue.defer(self.finish, connection, keep_alive)

    def handle(self, connection: Connection) -> bool:
        """In a thread: answer one request; whether another may follow on the connection."""
        try:
            request = next(connection.parser)
            request.is_stopping = lambda: not self.alive
            connection.source.has_head = True
            return bool(self.handle_request(request, connection))
        except (NoMoreData, StopIteration) as error:
            self.log.debug("the caller left: %s", type(error).__name__)
        except OSError as error:
            # Reset, gone, or too slow.
            self.log.debug("the caller was lost: %s", type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is logged and answered there
            with suppress(OSError):
                connection.sock.sendall(
                    rejections.answer(connection.answered_head, self.cfg, error)
                )
        return False

    def finish(self, connection: Connection, keep_alive: bool) -> None:  # noqa: FBT001 - by position
        """Close the connection after its request, or wait for the next one on it."""
        self.blocked.discard(connection)
        if not connection.is_shut_down:
            self.busy -= 1
        if connection.is_shut_down or not keep_alive:
            self.close_after_answer(connection)
            return
        connection.take_leftover()
        if connection.head:
            self.check_head(connection)
        else:
            self.watch(connection, self.keepalived_conns, self.cfg.keepalive)

    def on_blocked(self, connection: Connection) -> None:
        """Count a connection whose thread waits for the peer."""
        self.blocked.add(connection, connection.caller_network(), time.monotonic())

    def shut_down(self, connection: Connection) -> None:
        """Shut a connection down that a thread has. The thread wakes, and only then is it closed: the
        number of an open socket must not become another's while a thread uses it.
        """
        if not connection.sock.is_waiting:
            # The thread got what it waited for. Should it wait again, it reports that again.
            connection.sock.reported_blocked = False
            return
        connection.is_shut_down = True
        self.busy -= 1
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def end_process(code: int) -> NoReturn:
    """End now, threads and all.

    Python would wait for each thread to end by itself, up to a deadline of a minute and more, and
    meanwhile handles that were closed already become other files': a thread that then wrote a byte
    to the loop's wake-up pipe wrote it into the SQLite database. So nothing is closed here either:
    the kernel closes everything at once.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
