"""gunicorn's gthread with another loop: what strangers do with their sockets never holds it up.

A connection is in the hands of the loop until the head of a request is complete, and again when it
is idle or closing: that costs a socket and no thread. Requests are answered in threads, bodies read
and answers written there with limited patience (`connections`). Where an address has too many
connections that nobody works on, its oldest is given up; the same happens across all addresses when
the process runs out of connections or threads. Nobody who waits for an image is ever given up.
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

from ecohash.web.connections import READ_BYTES, Connection, Crowd, Line

# For a head, from the connection or its first byte on.
HEAD_SECONDS = 10.0
# For a body to follow its head before a thread begins with the request: what never comes costs no thread where
# its address has too many of that kind, for those are closed after the grace.
BODY_HOLD_SECONDS = 3.0
# For the peer to close after the last answer, and how much it may still send meanwhile.
LINGER_SECONDS = 2.0
LINGER_BYTES = 2 * 1024 * 1024
# What the loop holds when the process is told to stop.
STOP_SECONDS = 2.0
# A new connection is not given up for its address's sake before it could send something.
GRACE_SECONDS = 2.0
# Accepting rests for so long when the kernel has no handle or memory for another connection.
REST_SECONDS = 0.5
# Connections and threads kept free for those who come next.
SPARE_CONNECTIONS = 64
SPARE_THREADS = settings.PAGE_THREADS // 2


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """One web process. All but `work` and `handle` runs in its main thread, the loop."""

    alive: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The loop's queues, each with the time at which its first entry's patience ends.
        self.heads: dict[Connection, float] = {}
        self.bodies: dict[Connection, float] = {}
        self.keepalived_conns: dict[Connection, float] = {}
        self.closing: dict[Connection, float] = {}
        # The peer is a proxy, and has all of them, where proxies are trusted.
        behind_proxies = settings.TRUSTED_PROXIES > 0
        limit = settings.CONNECTIONS_PER_ADDRESS
        self.quiet = Crowd(float("inf") if behind_proxies else limit, GRACE_SECONDS)
        self.blocked = Crowd(limit, GRACE_SECONDS)
        # Connections that threads have or will have, without those that were cut.
        self.busy = 0
        self.events = 1
        self.rests_until = 0.0

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
                self.turn()
                if not self.is_parent_alive():
                    self.alive = False
            self.set_accept_enabled(False)
            self.hurry()
            until = time.monotonic() + self.cfg.graceful_timeout
            while self.nr_conns and time.monotonic() < until:
                self.turn()
            code = 0
        except Exception:
            self.log.exception("the web process ends: its loop failed")
        finally:
            end_process(code)

    def turn(self) -> None:
        """Wait for what happens next, and do what it asks for."""
        self.notify()
        if self.alive:
            now = time.monotonic()
            self.set_accept_enabled(
                self.nr_conns < self.worker_connections and now >= self.rests_until
            )
        self.wait_for_and_dispatch_events(timeout=self.time_to_spare())
        self.expire()
        self.relieve()

    def time_to_spare(self) -> float:
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

    def expire(self) -> None:
        """Close what has had its time. In each queue the first to come is the first to go."""
        now = time.monotonic()
        for queue in self.queues():
            while queue:
                connection, deadline = next(iter(queue.items()))
                if deadline > now:
                    break
                if queue is self.bodies:
                    self.pass_on(connection)
                else:
                    self.close(connection)

    def relieve(self) -> None:
        """Give connections up where one address has too many, or the process."""
        now = time.monotonic()
        for connection in self.quiet.surplus(now):
            self.close(connection)
        for connection in self.blocked.surplus(now):
            self.cut(connection)
        while self.quiet and self.nr_conns > self.worker_connections - SPARE_CONNECTIONS:
            self.close(self.quiet.pop())
        while self.blocked and self.busy > self.cfg.threads - SPARE_THREADS:
            self.cut(self.blocked.pop())

    def hurry(self) -> None:
        """The process stops: whoever sends nothing soon has nothing to lose."""
        latest = time.monotonic() + STOP_SECONDS
        for queue in self.queues():
            for connection, deadline in queue.items():
                queue[connection] = min(deadline, latest)

    def is_parent_alive(self) -> bool:
        """An orphan lets go of the port at once.

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
        """As many as other events came with it: one in quiet times, so that processes share them."""
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
            line = Line(plain.family, plain.type, plain.proto, fileno=plain.detach())
            line.settimeout(0)
            self.nr_conns += 1
            self.receive(Connection(self.cfg, line, client, listener.getsockname()))

    def make_room(self) -> None:
        """Give the oldest connections up, and accept nothing for a moment: requests need files too.

        The listener stays readable, so trying again at once would be a loop without end.
        """
        self.rests_until = time.monotonic() + REST_SECONDS
        for _ in range(min(len(self.quiet), SPARE_CONNECTIONS // 4)):
            self.close(self.quiet.pop())

    def on_readable(self, connection: Connection) -> None:
        if connection.queue is self.closing:
            self.drain(connection)
        elif connection.queue is not None:  # else it was closed by an event before this one
            self.receive(connection)

    def receive(self, connection: Connection) -> None:
        """Read what has come of a head; a thread gets it when it is complete."""
        try:
            data = connection.sock.recv(READ_BYTES)
        except BlockingIOError:
            if connection.queue is None:
                self.hold(connection, self.heads, HEAD_SECONDS)
            return
        except OSError:
            data = b""
        if not data and connection.queue is self.bodies:
            # It sends no more, and may still read: the answer says that the body is incomplete.
            self.pass_on(connection)
            return
        if not data:
            self.close(connection)
            return
        connection.head += data
        self.look(connection)

    def look(self, connection: Connection) -> None:
        """Pass a complete request on; one that is not stays within the time that it has."""
        if not connection.is_ready():
            if connection.queue is not self.heads:
                self.hold(connection, self.heads, HEAD_SECONDS)
        elif connection.has_body():
            self.pass_on(connection)
        elif connection.queue is not self.bodies:
            self.hold(connection, self.bodies, BODY_HOLD_SECONDS)

    def pass_on(self, connection: Connection) -> None:
        """Let a thread answer the request."""
        self.release(connection)
        connection.hand_over()
        self.busy += 1
        self.enqueue_req(connection)

    def hold(self, connection: Connection, queue: dict[Connection, float], seconds: float) -> None:
        """Watch it from that queue, at most so long."""
        now = time.monotonic()
        if connection.queue is None:
            self.poller.register(connection.sock, selectors.EVENT_READ, connection)
        else:
            del connection.queue[connection]
        connection.queue = queue
        queue[connection] = now + (seconds if self.alive else min(seconds, STOP_SECONDS))
        self.quiet.add(connection, connection.peer, now)

    def release(self, connection: Connection) -> None:
        """Watch it no more."""
        if connection.queue is not None:
            del connection.queue[connection]
            connection.queue = None
            self.quiet.discard(connection)
            self.poller.unregister(connection.sock)

    def close(self, connection: Connection) -> None:
        """The end of a connection that no thread has."""
        self.release(connection)
        self.nr_conns -= 1
        connection.parser = None  # it refers to the socket, which refers to nothing
        connection.sock.close()

    def linger(self, connection: Connection) -> None:
        """Say that nothing more comes, and wait a little for the peer to close.

        Closing while unread bytes lie in the socket would reset the connection, and the peer might
        lose the answer (RFC 9112, 9.6).
        """
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close(connection)
        else:
            self.hold(connection, self.closing, LINGER_SECONDS)
            self.drain(connection)

    def drain(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection.drained += len(data)
        if not data or connection.drained > LINGER_BYTES:
            self.close(connection)

    # --- connections that a thread has --------------------------------------------------------------

    def enqueue_req(self, connection: Connection) -> None:
        try:
            self.tpool.submit(self.work, connection)
        except RuntimeError:
            # No more threads can be started; those that there are will come to it.
            self.log.warning("the process cannot start another thread")

    def work(self, connection: Connection) -> None:
        """In a thread: answer one request."""
        goes_on = False
        try:
            connection.sock.begin(partial(self.method_queue.defer, self.on_blocked, connection))
            goes_on = self.handle(connection)
        finally:
            connection.sock.end()
            self.method_queue.defer(self.finish, connection, goes_on)

    def handle(self, connection: Connection) -> bool:
        """In a thread: answer one request; whether another may follow on the connection."""
        request = None
        try:
            request = next(connection.parser)
            connection.source.has_head = True
            return bool(self.handle_request(request, connection))
        except (NoMoreData, StopIteration) as error:
            self.log.debug("the caller left: %s", type(error).__name__)
        except OSError as error:
            # Reset, gone, or slower than our patience.
            self.log.debug("the caller was lost: %s", type(error).__name__)
        except Exception as error:  # noqa: BLE001 - gunicorn's way: it is logged and answered there
            self.handle_error(request, connection.sock, connection.client, error)
        return False

    def finish(self, connection: Connection, goes_on: bool) -> None:  # noqa: FBT001 - by position
        """A thread has done with it."""
        self.blocked.discard(connection)
        if not connection.is_cut:
            self.busy -= 1
        if connection.is_cut or not goes_on:
            self.linger(connection)
            return
        connection.take_back()
        if connection.head:
            self.look(connection)
        else:
            self.hold(connection, self.keepalived_conns, self.cfg.keepalive)

    def on_blocked(self, connection: Connection) -> None:
        """Its thread waits for the peer."""
        self.blocked.add(connection, connection.caller(), time.monotonic())

    def cut(self, connection: Connection) -> None:
        """Give a connection up that a thread has. The thread wakes, and only then is it closed: the
        number of an open socket must not become another's while a thread uses it.
        """
        if not connection.sock.is_waiting:
            # It has got what it waited for; should it wait again, it will say so again.
            connection.sock.is_told = False
            return
        connection.is_cut = True
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
