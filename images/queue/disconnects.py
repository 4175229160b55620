"""Whether the client is still connected. WSGI does not tell, so one thread a process watches the sockets.

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
from typing import Any

logger = logging.getLogger(__name__)

SELECT_SECONDS = 1.0


class ClientConnection:
    """The connection of a client that waits for an answer; None where the server does not hand it over."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection
        self._left = False

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> "ClientConnection":
        """The connection that this request came on."""
        connection = environ.get("gunicorn.socket")
        return cls(connection if isinstance(connection, socket.socket) else None)

    @property
    def has_left(self) -> bool:
        """Whether the connection was closed from the other side; asks the socket, without waiting."""
        if not self._left and self._connection is not None:
            self._left = is_closed(self._connection)
        return self._left

    @contextmanager
    def watched(self, on_leave: Callable[[], None]) -> Iterator[None]:
        """While inside, `on_leave` is called once when the client closes the connection."""
        if self._connection is None:
            yield
            return
        with _watcher.watch(self._connection, on_leave):
            yield


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed the connection. Bytes that wait there mean that it has not."""
    try:
        ready = select.poll()
        ready.register(connection, select.POLLIN)
        if not ready.poll(0):
            return False
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except (OSError, ValueError):  # reset by the peer, or closed already
        return True


class ConnectionWatcher:
    """The connections of all clients that wait in this process, and the thread that watches them."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._thread_of_process = 0

    @contextmanager
    def watch(self, connection: socket.socket, on_leave: Callable[[], None]) -> Iterator[None]:
        """Watch this connection while inside."""
        with self._lock:
            self._start_thread()
            self._selector.register(connection, selectors.EVENT_READ, on_leave)
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
            left = is_closed(connection)
        if left:
            key.data()


_watcher = ConnectionWatcher()
