"""The chores that span the apps."""

import logging

from celery import shared_task
from django.utils import timezone

from billing import notices
from ecohash import reconcile

logger = logging.getLogger(__name__)

TOLD = 50


@shared_task(name="ecohash.reconcile")
def check_books() -> None:
    """Once a day: staff get what differs, in one mail."""
    found = list(reconcile.differences_in_snapshot())
    found += reconcile.differences_at_stripe()
    if found:
        notices.note(
            "books_differ",
            subject=timezone.now().date().isoformat(),
            count=len(found),
            lines=found[:TOLD],
        )
