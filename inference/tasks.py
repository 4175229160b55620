"""The Celery task that notifies a GPU worker, and the worker's start and end.

A Celery worker that consumes a `gpu.<model>` queue becomes that model's GPU worker: it warms the
engine before it connects to the broker, so it receives nothing that it cannot act on.
Start it with `celery -A ecohash worker --pool solo -Q gpu.flux-1-schnell`, one for each GPU.
"""

import logging
from typing import Any

from celery import shared_task, signals

from images.catalog import MODELS
from inference.engines.base import EngineUnavailable
from inference.loading import build_engine
from inference.worker import GpuWorker

logger = logging.getLogger(__name__)

# The worker of this process, by model: one engine a process, set once before the first task.
workers: dict[str, GpuWorker] = {}


# The task is only a hint: acknowledged on receipt, so that a job that kills workers is not delivered again.
@shared_task(name="inference.draw", acks_late=False, reject_on_worker_lost=False)
def draw(model_id: str) -> None:
    """There is work for this model."""
    workers[model_id].handle_notification()


@signals.celeryd_after_setup.connect
def warm_engine(instance: Any, **_kwargs: Any) -> None:
    """Load and warm the engine of a GPU worker. Ends the process with status 1 where that fails.

    Celery logs what a receiver raises and goes on: the worker would take notifications and act on none.
    """
    queues = instance.app.amqp.queues.consume_from
    for model in MODELS.values():
        if model.queue in queues:
            try:
                worker = GpuWorker(engine=build_engine(model), model=model)
                worker.warm()
            except EngineUnavailable as error:
                logger.critical("engine unavailable", extra={"reason": str(error)})
                raise SystemExit(1) from error
            except Exception as error:
                reason = {"reason": type(error).__name__}
                logger.critical("engine failed to warm up", extra=reason, exc_info=True)
                raise SystemExit(1) from error
            workers[model.id] = worker


@signals.worker_ready.connect
def open_for_work(**_kwargs: Any) -> None:
    """The consumer listens: start to work."""
    for worker in workers.values():
        worker.open()


@signals.worker_shutting_down.connect
def stop_claiming(**_kwargs: Any) -> None:
    """A shutdown was asked for: finish the image being drawn and claim no other."""
    for worker in workers.values():
        worker.stop()


@signals.worker_shutdown.connect
def finish_in_hand(**_kwargs: Any) -> None:
    """The last signal of Celery, also after a remote shutdown: deliver the image being drawn first."""
    for worker in workers.values():
        worker.join()
