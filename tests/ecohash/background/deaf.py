"""A Celery process whose consumer hears nothing, or whose beat sends nothing: what kombu left behind, made on purpose.

Run as `python -m tests.ecohash.background.deaf worker|beat [celery's words]`, with a watchdog that is quick.
"""

import sys
from typing import Any

from celery import signals
from celery.__main__ import main
from celery.beat import Scheduler

from ecohash.background import watchdog
from ecohash.celery import app

watchdog.LOOK_SECONDS = 0.2  # type: ignore[assignment]
watchdog.DEAF_SECONDS = 1.5  # type: ignore[assignment]


@signals.worker_ready.connect(weak=False)
def take_its_credit(sender: Any, **_kwargs: Any) -> None:
    """As after an acknowledgment that failed: no place is left in the prefetch window."""
    sender.task_consumer.channel.qos.can_consume = lambda: False


def send_nothing(self: Any, *_words: Any, **_more: Any) -> None:
    """As a scheduler whose connection swallows everything."""


if __name__ == "__main__":
    if sys.argv[1] == "beat":
        Scheduler.apply_entry = send_nothing  # type: ignore[method-assign]
    sys.argv = ["celery", "--quiet", "--app", "ecohash", *sys.argv[1:]]
    assert app
    sys.exit(main())
