"""What has to happen outside the transaction that asks for it: a row asks until it is done.

A process claims the row, does the work, and ends its claim with `done` or `retry_later`. A claim is a lease:
where its process died, another takes the row when the lease is over.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self, TypeVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

LONGEST_WAIT_SECONDS = 300
LONGEST_NOTE = 500  # characters
# Stripe promises that no id is longer: https://docs.stripe.com/upgrades
STRIPE_ID_LENGTH = 255

Row = TypeVar("Row", bound=models.Model)


def later(tries: int, *, longest_seconds: int = LONGEST_WAIT_SECONDS) -> datetime:
    """Twice as long after each attempt, up to minutes, and never at the same moment as everybody else."""
    seconds = min(longest_seconds, 2 ** min(tries, 16))
    return timezone.now() + timedelta(seconds=seconds * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


class OutboxQuerySet(models.QuerySet[Row]):
    """Reads of rows that ask for work."""

    def free(self) -> Self:
        """Not done, and no living process has claimed it."""
        unclaimed = Q(claimed_until=None) | Q(claimed_until__lt=timezone.now())
        return self.filter(unclaimed, done_at=None)

    def due(self) -> Self:
        """Free, and the wait after the last attempt is over."""
        return self.free().filter(not_before__lte=timezone.now())


class OutboxRow(models.Model):
    """A row that asks for work; each change of its claim is a compare-and-set on `tries`."""

    # Longer than an attempt may take; then its process counts as dead.
    LEASE: ClassVar = timedelta(minutes=10)

    tries = models.PositiveIntegerField(default=0, db_default=0)
    not_before = models.DateTimeField(default=timezone.now, db_default=Now())
    claimed_until = models.DateTimeField(null=True, blank=True, help_text="A process works on it.")
    done_at = models.DateTimeField(null=True, blank=True)
    note = models.CharField(
        max_length=LONGEST_NOTE,
        blank=True,
        default="",
        db_default="",
        help_text="What the last attempt ended with.",
    )

    objects = OutboxQuerySet.as_manager()

    class Meta:
        abstract = True

    def claim(self, **changes: Any) -> bool:
        """Whether this process has the row now, until `LEASE` is over; `changes` are written with the claim."""
        changes = {"claimed_until": timezone.now() + self.LEASE, **changes}
        mine = type(self).objects.free().filter(pk=self.pk, tries=self.tries)
        if not mine.update(tries=F("tries") + 1, **changes):
            return False
        self.refresh_from_db()
        return True

    def release(self, note: str, **changes: Any) -> bool:
        """End this process's claim; False where its lease ran out and another process has the row."""
        mine = type(self).objects.filter(pk=self.pk, tries=self.tries, claimed_until__isnull=False)
        return bool(mine.update(claimed_until=None, note=note[:LONGEST_NOTE], **changes))

    def retry_later(self, error: object, **changes: Any) -> bool:
        """End this process's claim; the row is due again after a wait that grows with its tries."""
        return self.release(str(error), not_before=later(self.tries), **changes)

    def done(self, note: str = "", **changes: Any) -> bool:
        """End the row, also where the lease ran out: what has happened must not happen again."""
        changes = {"claimed_until": None, "note": note[:LONGEST_NOTE], **changes}
        mine = type(self).objects.filter(pk=self.pk, done_at=None)
        return bool(mine.update(done_at=timezone.now(), **changes))


class MailQuerySet(OutboxQuerySet[Row]):
    """Mails that the previous release has claimed are not free: it knows `claimed_at` alone."""

    def free(self) -> Self:
        return super().free().exclude(claimed_at__gt=timezone.now() - OutboxRow.LEASE)


class Mail(OutboxRow):
    """A mail that is sent once. `claimed_at` and what touches it may go with the next release."""

    claimed_at = models.DateTimeField(null=True, blank=True, editable=False)
    done_at = models.DateTimeField("sent at", null=True, blank=True, db_column="sent_at")

    # The plugin reads a manager of an abstract model as a class variable.
    objects = MailQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        abstract = True

    def claim(self, **changes: Any) -> bool:
        return super().claim(claimed_at=timezone.now(), **changes)

    def release(self, note: str, **changes: Any) -> bool:
        return super().release(note, claimed_at=None, **changes)
