"""One GPU process: it claims jobs, draws them one at a time, and never keeps what it cannot finish.

Four threads share the work. The work thread alone loads the engine, claims and draws: compiled code and
CUDA graphs are bound to the thread that made them. It looks for jobs when Celery's thread passes a
notification on, and every two seconds by itself, so that a consumer that receives nothing costs seconds.
An uploader encodes, stores and delivers image i while i+1 draws; further ones start only where a
storage stalls, so that it holds no other image. The heartbeat thread says that the
worker is alive, for as long as the work thread makes progress, and renews the leases. A watchdog ends
the process when one image takes too long or the work thread is stuck, for a stuck call cannot be
interrupted from inside.
"""

import hashlib
import logging
import os
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from accounts.http import request_id
from images.catalog import SIZES, Model
from images.jobs import leases
from images.jobs.refusals import UNUSABLE_IMAGE
from images.models import Generation
from images.pictures import storage
from images.queue import signals
from inference import inspection, uploads, warm_up
from inference.engines.base import Drawing, Engine, OutOfMemory, UnusableImage
from inference.pace import Pace
from inference.uploads import STALLED_AFTER_SECONDS, Uploads

logger = logging.getLogger(__name__)

# A notification holds Celery's thread for this long at most, so that a shutdown gets a chance.
NOTIFICATION_SECONDS = 20
# Without a notification the database is asked this often.
POLL_SECONDS = 2.0
# Of a work thread that neither draws nor makes progress: first no heartbeat, then the end of the process.
SILENT_AFTER_SECONDS = 10
STUCK_AFTER_SECONDS = 60
TICK_SECONDS = 1.0
DELIVERY_TRIES = 10
# Of a device without memory: so long it waits for pictures that are on their way, before it draws alone.
UPLOAD_PATIENCE_SECONDS = 5.0
EXIT_STUCK = 70
# So many failed drawings in a row, those of two jobs at least, before the engine itself is doubted.
FAILURES_BEFORE_CHECK = 4
LONGEST_HOST = 100  # characters


@dataclass
class ActiveJob:
    """A job that this worker has claimed; `drawing_since` is monotonic time, None once it is drawn."""

    job: Generation
    drawing_since: float | None


def name_of_worker(host: str) -> str:
    """Host and process id. The host is cut where it is longer than the column of a job."""
    return f"{host[:LONGEST_HOST]}:{os.getpid()}"


class GpuWorker:
    """One engine, and the jobs that it draws."""

    def __init__(self, *, engine: Engine, model: Model) -> None:
        self.engine = engine
        self.model = model
        self.name = name_of_worker(socket.gethostname())
        self._active_jobs: list[ActiveJob] = []
        self._pace = Pace()
        self._lock = threading.Lock()
        self._uploads = Uploads(on_progress=self._note_progress, on_end=self._wake_up)
        self._stopping = threading.Event()
        self._work = ThreadPoolExecutor(max_workers=1, thread_name_prefix="work")
        self._working: Future[None] | None = None
        self._notified = threading.Event()
        # There is something to look at: a notification, or an upload that ended.
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._progress_at = time.monotonic()
        self._failures_in_a_row = 0

    def warm(self) -> None:
        """Load the engine and draw once at each size. Nothing is claimed before this is done.

        Raises EngineUnavailable, also where a size does not fit the device or gives no usable image.
        """
        self._work.submit(warm_up.warm, self.engine, self._pace).result()

    def open(self) -> None:
        """Start the threads and send the first heartbeat."""
        self._progress_at = time.monotonic()
        self._working = self._work.submit(self._run)
        for target in (self._run_heartbeat, self._run_watchdog):
            threading.Thread(target=target, name=target.__name__, daemon=True).start()
        # At once, for the readiness of the platform is asked for right after this.
        self._send_heartbeat("idle")
        logger.info("worker ready", extra={"worker": self.name, "model": self.model.id})

    def stop(self) -> None:
        """Claim nothing more; the image being drawn is still finished. Safe in a signal handler."""
        self._stopping.set()
        signals.deregister(self.name)

    def join(self) -> None:
        """Stop, and return once the image being drawn is delivered."""
        self.stop()
        self._notified.set()
        self._wake.set()
        if self._working is not None:
            self._working.result()

    def handle_notification(self) -> None:
        """Wake the work thread; returns when it has no job left, or after `NOTIFICATION_SECONDS`.

        While it waits, this process takes no other notification: an idle worker gets that one.
        """
        with self._lock:
            if self._stopping.is_set():
                return
            self._idle.clear()
            self._notified.set()
            self._wake.set()
        if not self._idle.wait(NOTIFICATION_SECONDS) and not self._stopping.is_set():
            signals.notify_workers(self.model)

    def _run(self) -> None:
        """The work thread: draw after each notification, and when a poll finds jobs, until `stop`."""
        while not self._stopping.is_set():
            notified = self._notified.wait(POLL_SECONDS)
            self._notified.clear()
            self._progress_at = time.monotonic()
            try:
                if notified or leases.has_queued_jobs(self.model):
                    self.drain_queue()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("database away", extra={"error": type(error).__name__})
            except Exception:  # the next round tries again
                logger.exception("turn failed")
            finally:
                connection.close()
            with self._lock:
                if not self._notified.is_set():
                    self._idle.set()
        self._uploads.join()
        with self._lock:
            self._idle.set()

    def drain_queue(self) -> None:
        """Draw until no job is queued and each is delivered or handed back.

        While uploads are under way and nothing is queued, it looks for jobs every second, and at once
        when it is notified.
        """
        waiting_since: float | None = None
        while not self._stopping.is_set():
            self._progress_at = time.monotonic()
            self._wake.clear()
            if self._failures_in_a_row >= FAILURES_BEFORE_CHECK:
                self._check_engine()
            job = leases.claim(model=self.model, worker=self.name)
            if job is not None:
                waiting_since = None
                self._draw(job)
                continue
            if not self._uploads.under_way():
                break
            waiting_since = waiting_since or time.monotonic()
            if time.monotonic() - waiting_since >= STALLED_AFTER_SECONDS:
                self._take_notifications()
            self._wake.wait(TICK_SECONDS)
        if not self._stopping.is_set():
            self._send_heartbeat("idle")

    def _check_engine(self) -> None:
        """Draw a known prompt: a device that broke would fail all that it claims, and leave none to others."""
        self._failures_in_a_row = 0
        try:
            warm_up.check(self.engine)
        except Exception:
            logger.exception("engine broke")
            self._end_process("the engine gives no usable image any more")

    def _take_notifications(self) -> None:
        """Let Celery's thread go, which waits for the end of an upload that stalls."""
        with self._lock:
            self._notified.clear()
            self._idle.set()

    def _draw(self, job: Generation) -> None:
        started = time.monotonic()
        active_job = ActiveJob(job, drawing_since=started)
        with self._lock:
            self._active_jobs.append(active_job)
        with request_id.working_for(job.request_id):
            logger.info("drawing", extra={"generation": job.id, "attempt": job.attempt})
            try:
                drawing = self._ask_engine(job)
            except OutOfMemory:
                self._hand_back(job, "out_of_memory", stored=False)
                # Fragmented memory does not heal; a clean process does.
                self._end_process("out of memory twice", job)
            except Exception as error:  # noqa: BLE001 - one bad job must not take the others down
                self._hand_back_failed(job, error)
                self._remove(active_job)
                return
        self._pace.record(job.size, time.monotonic() - started)
        self._progress_at = time.monotonic()
        active_job.drawing_since = None
        drawn_at = timezone.now()
        self._uploads.start(lambda: self._upload(active_job, drawing, drawn_at))

    def _ask_engine(self, job: Generation) -> Drawing:
        width, height = SIZES[job.size]

        def on_step(step: int, steps: int) -> None:
            signals.report_step(job.id, step, steps)

        def draw() -> Drawing:
            return self.engine.draw(
                job.prompt, width=width, height=height, seed=job.seed, on_step=on_step
            )

        try:
            return draw()
        except OutOfMemory:
            logger.warning("out of memory, once more alone", extra={"generation": job.id})
            self._uploads.join(seconds=UPLOAD_PATIENCE_SECONDS)
            self.engine.free_memory()
            return draw()

    def _upload(self, active_job: ActiveJob, drawing: Drawing, drawn_at: datetime) -> None:
        """Encode, look at, store and deliver. Whatever goes wrong ends this attempt and nothing else."""
        job = active_job.job
        with request_id.working_for(job.request_id):
            try:
                self._deliver(job, self._store(job, drawing, drawn_at))
            except UnusableImage as error:
                self._hand_back_failed(job, error)
            except Exception as error:  # each storage has its own kinds of failure
                told = {"generation": job.id, **storage.describe(error)}
                logger.exception("picture lost", extra=told)
                self._hand_back(job, "storage_failed")
            finally:
                self._remove(active_job)
                connection.close()

    def _store(self, job: Generation, drawing: Drawing, drawn_at: datetime) -> leases.Picture:
        width, height = SIZES[job.size]
        png = inspection.png_of(drawing, width=width, height=height)
        self._failures_in_a_row = 0
        key = storage.key_of(job.id, job.attempt)
        uploads.store(key, png, stopping=self._stopping)
        return leases.Picture(
            storage_key=key,
            sha256=hashlib.sha256(png).hexdigest(),
            byte_count=len(png),
            engine=self.engine.fingerprint,
            prompt_tokens=drawing.prompt_tokens,
            prompt_tokens_seen=drawing.prompt_tokens_seen,
            prompt_tokens_unknown=drawing.prompt_tokens_unknown,
            drawn_at=drawn_at,
        )

    def _deliver(self, job: Generation, picture: leases.Picture) -> None:
        """Deliver, until the database has answered: after a broken COMMIT the outcome is read back.

        Raises:
            DatabaseError, InterfaceError: the database stayed away.
        """
        for tries_left in reversed(range(DELIVERY_TRIES)):
            self._progress_at = time.monotonic()
            try:
                delivered = leases.deliver(job, picture)
                break
            except (DatabaseError, InterfaceError) as error:
                logger.warning("delivery unclear", extra={"error": type(error).__name__})
                connection.close()
                if not tries_left:
                    raise
                time.sleep(TICK_SECONDS)
        logger.info(
            "delivered" if delivered else "too late",
            extra={"generation": job.id, "attempt": job.attempt},
        )
        if not delivered:
            storage.remove_attempt_if_possible(job.id, job.attempt)

    def _hand_back_failed(self, job: Generation, error: Exception) -> None:
        """End this attempt: the engine gave nothing, or nothing that can be sold."""
        told = {"generation": job.id, "attempt": job.attempt}
        if isinstance(error, UnusableImage):
            logger.error("unusable image", extra=told | {"reason": str(error)}, exc_info=error)
        else:
            logger.error("engine failed", extra=told, exc_info=error)
        self._failures_in_a_row += 1
        code = UNUSABLE_IMAGE if isinstance(error, UnusableImage) else "engine_failed"
        self._hand_back(job, code, stored=False)

    def _hand_back(self, job: Generation, error_code: str, *, stored: bool = True) -> None:
        """End this attempt; when even that fails, the lease runs out and the reaper does it."""
        try:
            leases.hand_back(job, error_code, stored=stored)
        except Exception as error:  # noqa: BLE001 - database or storage away
            logger.warning("job left to the reaper", extra={"error": type(error).__name__})
            connection.close()

    def _remove(self, active_job: ActiveJob) -> None:
        with self._lock:
            self._active_jobs.remove(active_job)

    def _note_progress(self) -> None:
        self._progress_at = time.monotonic()

    def _wake_up(self) -> None:
        self._wake.set()

    def _run_heartbeat(self) -> None:
        """The heartbeat thread: renew the leases and, while the work thread makes progress, say so."""
        while True:
            with self._lock:
                active_jobs = list(self._active_jobs)
            is_silent = self._stuck_seconds(active_jobs) >= SILENT_AFTER_SECONDS
            if not is_silent and not self._stopping.is_set():
                self._send_heartbeat("drawing" if active_jobs else "idle")
            self._renew(active_jobs)
            time.sleep(signals.HEARTBEAT_SECONDS)

    def _run_watchdog(self) -> None:
        """End the process when its work hangs. It makes no call that could block."""
        while not self._has_ended():
            time.sleep(TICK_SECONDS)
            with self._lock:
                active_jobs = list(self._active_jobs)
            for active_job in active_jobs:
                since = active_job.drawing_since
                if since is not None and time.monotonic() - since > settings.IMAGE_TIMEOUT_SECONDS:
                    self._end_process("image took too long", active_job.job)
            if self._stuck_seconds(active_jobs) > STUCK_AFTER_SECONDS:
                self._end_process("the work thread stands still")

    def _stuck_seconds(self, active_jobs: list[ActiveJob]) -> float:
        """How long the work thread has neither drawn nor made progress."""
        if any(active_job.drawing_since is not None for active_job in active_jobs):
            return 0.0
        return time.monotonic() - self._progress_at

    def _has_ended(self) -> bool:
        """Whether the work thread has returned, as it does after `stop`."""
        return self._working is not None and self._working.done()

    def _renew(self, active_jobs: list[ActiveJob]) -> None:
        try:
            for active_job in active_jobs:
                leases.renew(active_job.job)
        except Exception as error:  # noqa: BLE001 - this thread must outlive whatever a database does
            logger.warning("lease not renewed", extra={"error": type(error).__name__})
        finally:
            connection.close()

    def _send_heartbeat(self, state: str) -> None:
        signals.heartbeat(
            signals.LiveWorker(
                name=self.name,
                model=self.model.id,
                state=state,
                fingerprint=self.engine.fingerprint,
                **self._pace.report(),
            )
        )

    def _end_process(self, reason: str, job: Generation | None = None) -> None:
        """End the process now; the supervisor starts a clean one, and the lease frees the job."""
        logger.critical(reason, extra={"generation": job.id if job else None, "worker": self.name})
        logging.shutdown()
        os._exit(EXIT_STUCK)
