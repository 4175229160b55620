"""Whether the client is still connected. WSGI does not tell, so one thread a process watches the sockets.

What may be concluded from it is in docs/decisions/0034-a-lost-answer.md.

gunicorn hands the connection over as `gunicorn.socket`; under another server nothing is watched, and
every client counts as connected.
"""

import logging
import os
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any

logger = logging.getLogger(__name__)

SELECT_SECONDS = 1.0


class PeerState(Enum):
    """What a socket tells of the program at its other end."""

    OPEN = "open"
    # It closed its sending side. Most have left; HTTP/1.1 allows one to do so and to read on.
    SENDS_NO_MORE = "sends no more"
    # Reset, or closed in both directions: it can read nothing.
    GONE = "gone"


class ClientConnection:
    """The connection of a client that waits for an answer; None where the server does not hand it over.

    Behind a proxy it is the proxy's: what it says of the client is what the proxy does when one leaves.
    """

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection
        self._state = PeerState.OPEN

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> "ClientConnection":
        """The connection that this request came on."""
        connection = environ.get("gunicorn.socket")
        return cls(connection if isinstance(connection, socket.socket) else None)

    @property
    def sends_no_more(self) -> bool:
        """Whether the other side has closed: it has left, or it only reads. Asks the socket, without waiting."""
        return self._look() is not PeerState.OPEN

    @property
    def is_gone(self) -> bool:
        """Whether nobody is there to read an answer. Asks the socket, without waiting."""
        return self._look() is PeerState.GONE

    def _look(self) -> PeerState:
        if self._connection is not None and self._state is not PeerState.GONE:
            self._state = state_of(self._connection)
        return self._state

    @contextmanager
    def watched(self, on_close: Callable[[], None]) -> Iterator[None]:
        """While inside, `on_close` is called once when the client closes the connection, in one way or both."""
        if self._connection is None:
            yield
            return
        with _watcher.watch(self._connection, on_close):
            yield


def state_of(connection: socket.socket) -> PeerState:
    """What is known of the other side. Bytes that wait there mean that it has not closed."""
    try:
        poller = select.poll()
        poller.register(connection, select.POLLIN)
        found = poller.poll(0)
        if not found:
            return PeerState.OPEN
        # After a reset this stays, whoever has read the error first.
        if found[0][1] & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            return PeerState.GONE
        if connection.recv(1, socket.MSG_PEEK) == b"":
            return PeerState.SENDS_NO_MORE
    except BlockingIOError:
        return PeerState.OPEN
    except (OSError, ValueError):  # reset by the peer, or closed already
        return PeerState.GONE
    return PeerState.OPEN


class ConnectionWatcher:
    """The connections of all clients that wait in this process, and the thread that watches them."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._thread_of_process = 0

    @contextmanager
    def watch(self, connection: socket.socket, on_close: Callable[[], None]) -> Iterator[None]:
        """Watch this connection while inside."""
        with self._lock:
            self._start_thread()
            self._selector.register(connection, selectors.EVENT_READ, on_close)
        try:
            yield
        finally:
            self._unregister(connection)

    def _unregister(self, connection: socket.socket) -> None:
        # KeyError: unregistered before. ValueError: the connection was closed under us.
        with self._lock, suppress(KeyError, ValueError):
            self._selector.unregister(connection)

    def _start_thread(self) -> None:
        """Once a process: after a fork the child has neither the thread nor a selector of its own."""
        if self._thread_of_process == os.getpid():
            return
        self._thread_of_process = os.getpid()
        self._selector = selectors.DefaultSelector()
        threading.Thread(target=self._run, name="disconnects", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                for key, _ in self._selector.select(SELECT_SECONDS):
                    self._handle(key)
            except Exception as error:  # noqa: BLE001 - without this thread no disconnect is seen
                logger.warning("disconnects not seen", extra={"error": type(error).__name__})
                time.sleep(SELECT_SECONDS)

    def _handle(self, key: selectors.SelectorKey) -> None:
        connection: Any = key.fileobj
        with self._lock:
            # Its thread may have answered meanwhile, and the number may be another client's by now.
            if self._selector.get_map().get(key.fd) is not key:
                return
            # Bytes of a next request would be reported forever; that client is watched no more.
            self._selector.unregister(connection)
            closed = state_of(connection) is not PeerState.OPEN
        if closed:
            key.data()


_watcher = ConnectionWatcher()
