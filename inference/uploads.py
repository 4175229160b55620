"""Pictures on their way to the storage: bounded in number, tried again, and never in the next one's way."""

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from django.conf import settings

from images.pictures import storage

logger = logging.getLogger(__name__)

# Pictures in memory that the storage has not taken yet; beyond that, the next one waits.
UPLOADS_AT_ONCE = 4
# The next upload starts beside one that has taken longer than this.
STALLED_AFTER_SECONDS = 1.0
TICK_SECONDS = 1.0
# Before the second and third try to store a picture.
PAUSES_SECONDS = (1.0, 3.0)


class Uploads:
    """The uploads of one worker, started and waited for by its work thread alone.

    `on_progress` is called while that thread waits here, `on_end` in an uploader after each upload.
    """

    def __init__(self, *, on_progress: Callable[[], None], on_end: Callable[[], None]) -> None:
        self.pool = ThreadPoolExecutor(UPLOADS_AT_ONCE, thread_name_prefix="uploader")
        self._on_progress = on_progress
        self._on_end = on_end
        self._futures: list[Future[None]] = []

    def start(self, upload: Callable[[], None]) -> None:
        """Run it in a thread, once there is room.

        It waits for the upload before, while that does not stall: so pictures are delivered in the order
        in which they were drawn, as long as the storage is well.
        """
        if self._futures:
            wait(self._futures[-1:], timeout=STALLED_AFTER_SECONDS)
        while self.under_way() >= UPLOADS_AT_ONCE:
            self._on_progress()
            wait(self._futures, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
        self._on_progress()
        future = self.pool.submit(upload)
        future.add_done_callback(lambda _: self._on_end())
        self._futures.append(future)

    def under_way(self) -> int:
        """How many have not ended."""
        self._futures = [future for future in self._futures if not future.done()]
        return len(self._futures)

    def join(self, *, seconds: float = math.inf) -> None:
        """Wait for those under way, for so long at most; each of them ends by itself."""
        until = time.monotonic() + seconds
        while self.under_way() and time.monotonic() < until:
            self._on_progress()
            wait(self._futures, timeout=min(TICK_SECONDS, seconds))


def store(key: str, png: bytes, *, stopping: threading.Event) -> None:
    """Store the picture; a failure is tried again, for drawing it once more costs the GPU more.

    Raises:
        OSError: each try failed, or another one would not end in time, or the worker stops.
    """
    begun = time.monotonic()
    for pause in (*PAUSES_SECONDS, None):
        try:
            storage.put(key, png)
        except OSError as error:
            spent = time.monotonic() - begun
            if pause is None or spent > 1.5 * settings.STORAGE_TIMEOUT_SECONDS:
                raise
            logger.warning("picture not stored, once more", extra=storage.describe(error))
            if stopping.wait(pause):
                raise
        else:
            return
