"""A real GPU worker in a thread of the test: it hears the doorbell in Redis, as Celery would."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from images.catalog import FLUX_SCHNELL
from images.queue import signals
from inference.engines.base import Engine
from inference.engines.blank import BlankEngine
from inference.worker import GpuWorker


def close_connection() -> None:
    """That of the thread that calls: `connection.close` itself would be bound to another's."""
    connection.close()


@contextmanager
def working(engine: Engine | None = None) -> Iterator[GpuWorker]:
    """Draws whatever is admitted inside, with the blank engine unless another is given."""
    redis = signals.client()
    worker = GpuWorker(engine=engine or BlankEngine(), model=FLUX_SCHNELL)
    done = threading.Event()

    def listen() -> None:
        try:
            while not done.is_set():
                if redis.blpop([FLUX_SCHNELL.queue], timeout=0.1):
                    worker.drain_queue()
        finally:
            worker._uploader.submit(close_connection).result()
            worker._uploader.shutdown()
            connection.close()

    listener = threading.Thread(target=listen, name="listener")
    listener.start()
    try:
        yield worker
    finally:
        done.set()
        listener.join()
