"""A limit on the whole of a call to the storage.

Timeouts of sockets count each read anew, so a store that sends one byte a second never reaches one; and a
file system that is away has no timeout at all. So each call runs in a thread of its own, and its caller
waits no longer than the limit.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class StorageTimeout(TimeoutError):
    """The storage has not answered within the limit; whether the call will still happen is unknown."""


class StorageBusy(StorageTimeout):
    """As many calls as may be under way hang, so this one was not begun."""


class TimeLimit:
    """Runs calls of one kind, `at_once` at most; the others wait for a place within their own limit."""

    def __init__(self, *, at_once: int) -> None:
        self._places = threading.Semaphore(at_once)

    def run(self, call: Callable[[], T], *, seconds: float, wait_for_place: bool = True) -> T:
        """What `call` returns or raises.

        A call that takes longer is left alone: its thread ends with it, and holds its place until then.

        Raises:
            StorageTimeout: it took longer than `seconds`.
            StorageBusy: it was not begun.
        """
        until = time.monotonic() + seconds
        if not self._places.acquire(timeout=seconds if wait_for_place else 0):
            raise StorageBusy
        outcome: Future[T] = Future()
        # A daemon, so that a call that hangs keeps no process from its end.
        thread = threading.Thread(target=self._run, args=[call, outcome], daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._places.release()
            raise
        try:
            return outcome.result(max(0.0, until - time.monotonic()))
        except TimeoutError as error:
            # The call's own timeout is its outcome; ours has none yet.
            if outcome.done():
                raise
            raise StorageTimeout from error

    def _run(self, call: Callable[[], Any], outcome: Future[Any]) -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - handed on to the caller, whatever it is
            outcome.set_exception(error)
        else:
            outcome.set_result(result)
        finally:
            self._places.release()
