"""A real GPU worker in a thread of the test: it takes the notifications from Redis, as Celery would."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from images.catalog import FLUX_SCHNELL, Model
from images.queue import signals
from inference.engines.base import Engine
from inference.engines.blank import BlankEngine
from inference.worker import GpuWorker


def close_connection() -> None:
    """That of the thread that calls: `connection.close` itself would be bound to another's."""
    connection.close()


@contextmanager
def working(engine: Engine | None = None, *, model: Model = FLUX_SCHNELL) -> Iterator[GpuWorker]:
    """Draws whatever is admitted for the model, with the blank engine unless another is given."""
    redis = signals.client()
    worker = GpuWorker(engine=engine or BlankEngine(), model=model)
    done = threading.Event()

    def listen() -> None:
        try:
            while not done.is_set():
                if redis.blpop([model.queue], timeout=0.1):
                    worker.drain_queue()
        finally:
            worker._uploads.pool.shutdown()
            connection.close()

    listener = threading.Thread(target=listen, name="listener")
    listener.start()
    try:
        yield worker
    finally:
        done.set()
        listener.join()
