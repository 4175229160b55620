"""Whether the caller is still there. WSGI does not tell, so one thread a process watches the sockets.

gunicorn hands the connection over as `gunicorn.socket`; under another server nobody is watched, and
every caller counts as present.
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

LOOK_SECONDS = 1.0


class ClientConnection:
    """One caller who waits for an answer on this connection."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection
        self._left = False

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> "ClientConnection":
        """Whoever sent this request."""
        connection = environ.get("gunicorn.socket")
        return cls(connection if isinstance(connection, socket.socket) else None)

    @property
    def has_left(self) -> bool:
        """Whether the connection was closed from the other side; asks the socket, without waiting."""
        if not self._left and self._connection is not None:
            self._left = hung_up(self._connection)
        return self._left

    @contextmanager
    def watched(self, on_leave: Callable[[], None]) -> Iterator[None]:
        """While inside, `on_leave` is called once when the caller hangs up."""
        if self._connection is None:
            yield
            return
        with _watch.over(self._connection, on_leave):
            yield


def hung_up(connection: socket.socket) -> bool:
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


class Watch:
    """The sockets of all callers who wait in this process, and the thread that looks at them."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._thread_of_process = 0

    @contextmanager
    def over(self, connection: socket.socket, on_leave: Callable[[], None]) -> Iterator[None]:
        """Watch this connection while inside."""
        with self._lock:
            self._start_thread()
            self._selector.register(connection, selectors.EVENT_READ, on_leave)
        try:
            yield
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        # KeyError: forgotten before. ValueError: the connection was closed under us.
        with self._lock, suppress(KeyError, ValueError):
            self._selector.unregister(connection)

    def _start_thread(self) -> None:
        """Once a process: after a fork the child has neither the thread nor a selector of its own."""
        if self._thread_of_process == os.getpid():
            return
        self._thread_of_process = os.getpid()
        self._selector = selectors.DefaultSelector()
        threading.Thread(target=self._look, name="presence", daemon=True).start()

    def _look(self) -> None:
        while True:
            try:
                for key, _ in self._selector.select(LOOK_SECONDS):
                    self._judge(key)
            except Exception as error:  # noqa: BLE001 - without this thread nobody's leaving is seen
                logger.warning("presence not seen", extra={"error": type(error).__name__})
                time.sleep(LOOK_SECONDS)

    def _judge(self, key: selectors.SelectorKey) -> None:
        connection: Any = key.fileobj
        with self._lock:
            # Its thread may have answered meanwhile, and the number may be another caller's by now.
            if self._selector.get_map().get(key.fd) is not key:
                return
            # Bytes of a next request would be reported for ever; that caller is watched no more.
            self._selector.unregister(connection)
            left = hung_up(connection)
        if left:
            key.data()


_watch = Watch()
