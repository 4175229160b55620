"""What is removed from tables that only grow, and after how many days. The books are kept for good.

`docs/operations.md` lists every table, and a test holds it to that.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db.models import QuerySet
from django.utils import timezone

from billing.models import CreationKey, Notice, SpendAlert, UsageAttempt, UsageBatch, WebhookEvent
from images.models import Generation

# SQLite has one writer: each batch is a short transaction.
AT_ONCE = 500
# Stripe forgets an idempotency key after a day; a month leaves room for a restore.
CREATION_KEY_DAYS = 30
# Whether this mail went is asked for as long as the organization exists.
ONCE_FOR_GOOD = ("trial_ended",)


@dataclass(frozen=True)
class Retention:
    """Rows that may go: those of `ended_before`, removed, or with `change` written to them.

    `days` is a number, or the name of a setting in KEPT_DAYS.
    """

    days: int | str
    ended_before: Callable[[datetime], QuerySet[Any]]
    change: dict[str, Any] = field(default_factory=dict)

    @property
    def kept_days(self) -> int:
        """0 keeps them for good."""
        return settings.KEPT_DAYS[self.days] if isinstance(self.days, str) else self.days


RETENTIONS = {
    "webhook events": Retention(
        "WEBHOOK_EVENT_DAYS",
        lambda day: WebhookEvent.objects.filter(done_at__lt=day, received_at__lt=day),
    ),
    "attempts": Retention(
        "USAGE_ATTEMPT_DAYS",
        lambda day: UsageAttempt.objects.filter(started_at__lt=day).exclude(
            batch__in=UsageBatch.objects.unclaimed().exclude(state__in=UsageBatch.TAKEN)
        ),
    ),
    "notices": Retention(
        "NOTICE_DAYS",
        lambda day: Notice.objects.filter(done_at__lt=day).exclude(kind__in=ONCE_FOR_GOOD),
    ),
    "spend alerts": Retention(
        "NOTICE_DAYS", lambda day: SpendAlert.objects.filter(month__lt=day.date())
    ),
    "admin log": Retention(
        "ADMIN_LOG_DAYS", lambda day: LogEntry.objects.filter(action_time__lt=day)
    ),
    "creation keys": Retention(
        CREATION_KEY_DAYS, lambda day: CreationKey.objects.filter(changed_at__lt=day)
    ),
    "prompts": Retention(
        "PROMPT_DAYS",
        lambda day: Generation.objects.filter(ended_at__lt=day).exclude(prompt=""),
        change={"prompt": ""},
    ),
}


def remove(retention: Retention, after: Any = None) -> Iterator[Any]:
    """Remove what may go, in short batches by primary key; yields the last key of each.

    Args:
        retention: Which rows.
        after: The key to go on behind, as an earlier run has yielded it.
    """
    if not retention.kept_days:
        return
    day = timezone.now() - timedelta(days=retention.kept_days)
    rows = retention.ended_before(day).order_by("pk")
    while True:
        behind = rows.filter(pk__gt=after) if after is not None else rows
        keys = list(behind.values_list("pk", flat=True)[:AT_ONCE])
        if not keys:
            return
        # Asked once more: a webhook that staff work on again, for instance, is not done any longer.
        batch = retention.ended_before(day).filter(pk__in=keys)
        if retention.change:
            batch.update(**retention.change)
        else:
            batch.delete()
        after = keys[-1]
        yield after
