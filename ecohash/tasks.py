"""The periodic tasks that span the apps, and the watchdog of every Celery worker."""

import logging
import time
from typing import Any

from celery import shared_task
from celery import signals as celery_signals
from celery.worker import state
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone

from billing import tasks
from billing.ledger import trial
from billing.mails import notices
from billing.models import Subscription
from ecohash import signup
from ecohash.background import beat_schedule, watchdog
from ecohash.celery import app
from ecohash.reconcile import closing, running
from ecohash.retention import removal
from images.queue import signals
from inference.tasks import stop_claiming

logger = logging.getLogger(__name__)

# SQLite has one writer: each batch is a short one. After SHIFT_SECONDS the sweeper and the reaper come first.
SESSIONS_AT_ONCE = 1_000
SHIFT_SECONDS = 1.0


@shared_task(
    name="ecohash.books.check",
    # Taken from the queue at once: a broker would deliver a message again while such a long task runs.
    # Where its process dies, the next message finds that no check has finished.
    acks_late=False,
    time_limit=running.LONGEST_RUN_SECONDS,
)
def check_books() -> None:
    """Once a day: staff get what differs, and months that can be closed are.

    Stripe is asked for each organization by itself, for that takes time.
    """
    if not running.is_due():
        return
    customers = list(Subscription.objects.exclude(customer_id=None).values_list("pk", flat=True))
    told: list[str] = []

    def tell(line: str) -> None:
        if len(told) < tasks.LINES_TOLD:
            told.append(line)

    outcome = running.run(tell, organizations=len(customers))
    tasks.tell_staff(told, of="all books", count=outcome.differences)
    for organization_id in customers:
        tasks.compare.delay(organization_id)
    closing.close_due()


@shared_task(name="ecohash.reconcile")
def check_books_elsewhere() -> None:
    """As an earlier release's beat asks for it, in the queue of short tasks: hand it on."""
    check_books.delay()


@shared_task(name="ecohash.watch_books")
def watch_books() -> None:
    """Tell staff, once a day, when no check of the books has finished for long."""
    since = running.overdue_since()
    if since:
        notices.note(
            "books_unchecked", subject=f"{timezone.now():%Y-%m-%d}", since=f"{since:%Y-%m-%d %H:%M}"
        )


@shared_task(name="ecohash.clear_sessions")
def clear_sessions() -> None:
    """Remove sessions that have expired; the rest of very many is left to the next message."""
    until = time.monotonic() + SHIFT_SECONDS
    expired = Session.objects.filter(expire_date__lt=timezone.now())
    while keys := list(expired.values_list("pk", flat=True)[:SESSIONS_AT_ONCE]):
        Session.objects.filter(pk__in=keys).delete()
        if time.monotonic() > until:
            clear_sessions.delay()
            return


@shared_task(name="ecohash.remove_old")
def remove_old(name: str = "", after: Any = None) -> None:
    """Once a day: remove what its days have passed for; the rest of very many is left to the next message."""
    until = time.monotonic() + SHIFT_SECONDS
    names = list(removal.RETENTIONS)
    for each in names[names.index(name) if name else 0 :]:
        for last in removal.remove(removal.RETENTIONS[each], after):
            if time.monotonic() > until:
                remove_old.delay(each, last)
                return
        after = None


@shared_task(name="ecohash.remove_unverified")
def remove_unverified() -> None:
    """Once an hour: accounts that nobody verified, and yesterday's counts of trial credit, are removed."""
    trial.remove_old_networks()
    removed = signup.remove_unverified()
    if removed:
        logger.info("unverified accounts removed", extra={"accounts": removed})
        # The rest of very many is left to the next message.
        remove_unverified.delay()


@celery_signals.task_success.connect
def note_periodic_task(sender: Any, **_kwargs: Any) -> None:
    """Record when a task ran last, for `/readyz`."""
    if sender.name in beat_schedule.DEFAULT_WORKER_TASKS + beat_schedule.STRIPE_WORKER_TASKS:
        signals.record_periodic_task(sender.name)


@celery_signals.worker_ready.connect
def watch_consumer(**_kwargs: Any) -> None:
    """End a worker whose consumer receives nothing although messages wait."""
    queues = list(app.amqp.queues.consume_from)
    guard = watchdog.Watchdog(
        waiting=lambda: watchdog.waiting_messages(app, queues) > 0,
        busy=lambda: bool(state.active_requests),
    )
    # A weak reference would be gone at once.
    celery_signals.task_received.connect(guard.heard, weak=False)

    def end() -> None:
        stop_claiming()
        watchdog.end_process(settings.IMAGE_TIMEOUT_SECONDS + 15)

    guard.start(end)
