"""One GPU process: it claims jobs, draws them one at a time, and never keeps what it cannot finish.

Four threads share the work. The work thread alone loads the engine, claims and draws: compiled code and
CUDA graphs are bound to the thread that made them. It starts when Celery's thread passes a bell on, and
every two seconds by itself, so that a consumer that hears nothing costs seconds. A finisher encodes,
stores and delivers image i while i+1 draws. A keeper beats while the work thread turns, and renews the
leases. A watchdog ends the process when one image takes too long or the work thread stands still, for a
stuck call cannot be interrupted from inside.
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
from images.models import Generation
from images.pictures import storage
from images.queue import signals
from inference.engines.base import Drawing, Engine, OutOfMemory
from inference.pace import Pace

logger = logging.getLogger(__name__)

# A bell holds Celery's thread for this long at most; then the next one gives a shutdown a chance.
SHIFT_SECONDS = 20
# Without any bell the database is asked this often.
POLL_SECONDS = 2.0
# Of a work thread that neither draws nor turns: no heartbeat after a while, and then the end.
SILENT_SECONDS = 10
STILL_SECONDS = 60
TICK_SECONDS = 1.0
DELIVERY_TRIES = 10
EXIT_STUCK = 70
FIRST_PROMPT = "a red circle"
# Sizes are timed until so long has passed.
FIRST_PACE_SECONDS = 2.0
LONGEST_HOST = 100  # characters


@dataclass
class ActiveJob:
    """One job in hand; `drawing_since` is on the monotonic clock, None once it is drawn."""

    job: Generation
    drawing_since: float | None


def name_of_worker(host: str) -> str:
    """By which its jobs name it. A name of a host may be longer than their column."""
    return f"{host[:LONGEST_HOST]}:{os.getpid()}"


class GpuWorker:
    """An engine and the jobs in its hands."""

    def __init__(self, *, engine: Engine, model: Model) -> None:
        self.engine = engine
        self.model = model
        self.name = name_of_worker(socket.gethostname())
        self._active_jobs: list[ActiveJob] = []
        self._pace = Pace()
        self._lock = threading.Lock()
        self._uploader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="finisher")
        self._finishing: Future[None] | None = None
        self._stopping = threading.Event()
        self._work = ThreadPoolExecutor(max_workers=1, thread_name_prefix="work")
        self._working: Future[None] | None = None
        self._bell = threading.Event()
        self._idle = threading.Event()
        self._turned_at = time.monotonic()

    def warm(self) -> None:
        """Load the engine and draw once at each size. Nothing is claimed before this is done."""
        self._work.submit(self._warm).result()

    def _warm(self) -> None:
        started = time.monotonic()
        self.engine.load()
        self.engine.warm(list(SIZES.values()))
        self._note_first_pace()
        logger.info(
            "engine warm",
            extra={
                "engine": self.engine.fingerprint,
                "seconds": round(time.monotonic() - started, 1),
            },
        )

    def _note_first_pace(self) -> None:
        """Draw the smallest sizes once more and time it, so that callers can be told from the start."""
        begun = time.monotonic()
        for size, (width, height) in sorted(SIZES.items(), key=lambda one: one[1]):
            started = time.monotonic()
            self.engine.draw(FIRST_PROMPT, width=width, height=height, seed=0)
            self._pace.note(size, time.monotonic() - started)
            # A CPU would need long for the large ones; their pace shows with their first picture.
            if time.monotonic() - begun > FIRST_PACE_SECONDS:
                break
        self._pace.keep_as_usual()

    def open(self) -> None:
        """Begin to work, say that work is welcome, and keep saying so."""
        self._turned_at = time.monotonic()
        self._working = self._work.submit(self._turn)
        for target in (self._keep, self._watch):
            threading.Thread(target=target, name=target.__name__, daemon=True).start()
        # Before this returns somebody may ask who is there.
        self._beat("idle")
        logger.info("worker ready", extra={"worker": self.name, "model": self.model.id})

    def stop(self) -> None:
        """Claim nothing more; the image in hand is still finished. Safe in a signal handler."""
        self._stopping.set()
        signals.deregister(self.name)

    def join(self) -> None:
        """Stop, and return once the image in hand is delivered."""
        self.stop()
        self._bell.set()
        if self._working is not None:
            self._working.result()

    def handle_notification(self) -> None:
        """Pass a bell to the work thread; returns when its hands are empty or the shift is over.

        A worker that is busy thus takes no second bell, which an idle one should hear.
        """
        with self._lock:
            if self._stopping.is_set():
                return
            self._idle.clear()
            self._bell.set()
        if not self._idle.wait(SHIFT_SECONDS) and not self._stopping.is_set():
            signals.notify_workers(self.model)

    def _turn(self) -> None:
        """The work thread's loop: with each bell, and every few seconds without one, until it is told to stop."""
        while not self._stopping.is_set():
            rung = self._bell.wait(POLL_SECONDS)
            self._bell.clear()
            self._turned_at = time.monotonic()
            try:
                if rung or leases.waits(self.model):
                    self.drain_queue()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("database away", extra={"error": type(error).__name__})
            except Exception:  # the next turn tries again
                logger.exception("turn failed")
            finally:
                connection.close()
            with self._lock:
                if not self._bell.is_set():
                    self._idle.set()
        with self._lock:
            self._idle.set()

    def drain_queue(self) -> None:
        """Draw until nothing waits; returns with empty hands."""
        try:
            while not self._stopping.is_set():
                self._turned_at = time.monotonic()
                job = leases.claim(model=self.model, worker=self.name)
                if job is None:
                    break
                self._draw(job)
        finally:
            self._join_uploader()
            if not self._stopping.is_set():
                self._beat("idle")

    def _draw(self, job: Generation) -> None:
        started = time.monotonic()
        stint = ActiveJob(job, drawing_since=started)
        with self._lock:
            self._active_jobs.append(stint)
        with request_id.working_for(job.request_id):
            logger.info("drawing", extra={"generation": job.id, "attempt": job.attempt})
            try:
                drawing = self._ask_engine(job)
            except OutOfMemory:
                self._hand_back(job, "out_of_memory")
                # Fragmented memory does not heal; a clean process does.
                self._quit("out of memory twice", job)
            except Exception:  # one bad job must not take the others down
                logger.exception("engine failed", extra={"generation": job.id})
                self._hand_back(job, "engine_failed")
                self._drop(stint)
                return
        self._pace.note(job.size, time.monotonic() - started)
        self._turned_at = time.monotonic()
        stint.drawing_since = None
        drawn_at = timezone.now()
        # At most one picture waits behind the one being drawn, so that memory stays bounded.
        self._join_uploader()
        self._finishing = self._uploader.submit(self._finish, stint, drawing, drawn_at)

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
            self._join_uploader()
            self.engine.free_memory()
            return draw()

    def _finish(self, stint: ActiveJob, drawing: Drawing, drawn_at: datetime) -> None:
        """Encode, store and deliver. Whatever goes wrong ends this attempt and nothing else."""
        job = stint.job
        with request_id.working_for(job.request_id):
            try:
                self._deliver(job, self._store(job, drawing, drawn_at))
            except Exception:  # each storage has its own kinds of failure
                logger.exception("picture lost", extra={"generation": job.id})
                self._hand_back(job, "storage_failed")
            finally:
                self._drop(stint)
                connection.close()

    def _store(self, job: Generation, drawing: Drawing, drawn_at: datetime) -> leases.Picture:
        png = drawing.png()
        key = storage.key_of(job.id, job.attempt)
        storage.put(key, png)
        return leases.Picture(
            storage_key=key,
            sha256=hashlib.sha256(png).hexdigest(),
            byte_count=len(png),
            engine=self.engine.fingerprint,
            prompt_tokens=drawing.prompt_tokens,
            prompt_tokens_seen=drawing.prompt_tokens_seen,
            drawn_at=drawn_at,
        )

    def _deliver(self, job: Generation, picture: leases.Picture) -> None:
        """T2, until the database has answered: after a broken COMMIT the outcome is read back.

        Raises:
            DatabaseError, InterfaceError: the database stayed away.
        """
        for tries_left in reversed(range(DELIVERY_TRIES)):
            self._turned_at = time.monotonic()
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
            storage.remove_attempt(job.id, job.attempt)

    def _hand_back(self, job: Generation, error_code: str) -> None:
        """End this attempt; when even that fails, the lease runs out and the reaper does it."""
        try:
            leases.hand_back(job, error_code)
        except Exception as error:  # noqa: BLE001 - database or storage away
            logger.warning("job left to the reaper", extra={"error": type(error).__name__})
            connection.close()

    def _drop(self, stint: ActiveJob) -> None:
        with self._lock:
            self._active_jobs.remove(stint)

    def _join_uploader(self) -> None:
        if self._finishing is not None:
            self._finishing.result()
            self._finishing = None

    def _keep(self) -> None:
        while True:
            with self._lock:
                stints = list(self._active_jobs)
            if self._still_seconds(stints) < SILENT_SECONDS and not self._stopping.is_set():
                self._beat("drawing" if stints else "idle")
            self._renew(stints)
            time.sleep(signals.HEARTBEAT_SECONDS)

    def _watch(self) -> None:
        """End the process when its work hangs. Asks nobody, so that nothing can hold it up."""
        while not self._has_ended():
            time.sleep(TICK_SECONDS)
            with self._lock:
                stints = list(self._active_jobs)
            for stint in stints:
                since = stint.drawing_since
                if since is not None and time.monotonic() - since > settings.IMAGE_TIMEOUT_SECONDS:
                    self._quit("image took too long", stint.job)
            if self._still_seconds(stints) > STILL_SECONDS:
                self._quit("the work thread stands still")

    def _still_seconds(self, stints: list[ActiveJob]) -> float:
        """How long the work thread has neither drawn nor turned."""
        if any(stint.drawing_since is not None for stint in stints):
            return 0.0
        return time.monotonic() - self._turned_at

    def _has_ended(self) -> bool:
        """Whether the work thread came to its end, as it does after `stop`."""
        return self._working is not None and self._working.done()

    def _renew(self, stints: list[ActiveJob]) -> None:
        try:
            for stint in stints:
                leases.renew(stint.job)
        except Exception as error:  # noqa: BLE001 - the keeper must outlive whatever a database does
            logger.warning("lease not renewed", extra={"error": type(error).__name__})
        finally:
            connection.close()

    def _beat(self, state: str) -> None:
        signals.heartbeat(
            signals.LiveWorker(
                name=self.name,
                model=self.model.id,
                state=state,
                fingerprint=self.engine.fingerprint,
                **self._pace.told(),
            )
        )

    def _quit(self, reason: str, job: Generation | None = None) -> None:
        """End the process now; the supervisor starts a clean one, and the lease frees the job."""
        logger.critical(reason, extra={"generation": job.id if job else None, "worker": self.name})
        logging.shutdown()
        os._exit(EXIT_STUCK)
