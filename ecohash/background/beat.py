"""Celery's beat, except that it sends no task while no worker takes any, and ends when it can send none.

A message says when it expires, but on Redis only a worker that takes it throws it away: without one,
for instance where Stripe is not used and its worker is not run, 110 MB a day would pile up.
"""

from typing import Any

from celery.beat import PersistentScheduler
from django.conf import settings

from ecohash.background import watchdog

# More than a busy worker leaves for a minute. Each task does all that is due, so a skipped one is not missed.
MAX_WAITING = 100
BEAT_GRACE_SECONDS = 10


class Scheduler(PersistentScheduler):
    """Sends a due task only where fewer than `MAX_WAITING` messages wait in its queue.

    It ends its process when it handled no task for long although the broker answers.
    """

    def __init__(
        self,
        *args: Any,
        lazy: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, lazy=lazy, **kwargs)
        self._watchdog = watchdog.Watchdog(waiting=self._broker_answers)
        if not lazy:
            self._watchdog.start(lambda: watchdog.end_process(BEAT_GRACE_SECONDS))

    def apply_async(
        self,
        entry: Any,
        producer: Any = None,
        advance: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        **kwargs: Any,
    ) -> Any:
        queue = self.app.amqp.router.route({}, entry.task)["queue"].name
        if producer is not None and waiting(producer, queue) >= MAX_WAITING:
            self._watchdog.heard()
            return None
        sent = super().apply_async(entry, producer=producer, advance=advance, **kwargs)
        self._watchdog.heard()
        return sent

    def _broker_answers(self) -> bool:
        """Whether a message could be sent: some task is always due within seconds."""
        watchdog.waiting_messages(self.app, [settings.CELERY_TASK_DEFAULT_QUEUE])
        return True


def waiting(producer: Any, queue: str) -> int:
    """How many messages wait there; 0 for brokers that keep the expiry themselves, as RabbitMQ does."""
    if producer.connection.transport.driver_type != "redis":
        return 0
    return int(producer.channel.client.llen(queue))
