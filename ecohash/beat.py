"""Celery's beat, except that it rings for no chore while nobody hears it.

A message says when it expires, but on Redis only a worker that takes it throws it away: without one,
for instance where Stripe is not used and its worker is not run, 110 MB a day would pile up.
"""

from typing import Any

from celery.beat import PersistentScheduler

# More than a worker leaves in a minute. Each chore does all that is due, so none of these is missed.
UNHEARD = 100


class Scheduler(PersistentScheduler):
    """Sends a due chore only where fewer than that many messages wait in its queue."""

    def apply_async(
        self,
        entry: Any,
        producer: Any = None,
        advance: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        **kwargs: Any,
    ) -> Any:
        queue = self.app.amqp.router.route({}, entry.task)["queue"].name
        if producer is not None and waiting(producer, queue) >= UNHEARD:
            return None
        return super().apply_async(entry, producer=producer, advance=advance, **kwargs)


def waiting(producer: Any, queue: str) -> int:
    """How many messages wait there; 0 for brokers that keep the expiry themselves, as RabbitMQ does."""
    if producer.connection.transport.driver_type != "redis":
        return 0
    return int(producer.channel.client.llen(queue))
