"""The ways in which EcoHash hears what has happened at Stripe."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from billing import missed_events
from billing.invoicing import settling
from billing.models import Subscription, UsageBatch
from billing.subscriptions import syncing
from tests.payment import deliver, due_now, settle, work
from tests.stripe_sandbox import StripeSandbox

Hear = Callable[[StripeSandbox], None]


def by_webhook(sandbox: StripeSandbox) -> None:
    """Each event arrives once."""
    deliver(sandbox)


def by_webhook_twice(sandbox: StripeSandbox) -> None:
    """Each event arrives twice."""
    deliver(sandbox, times=2)


def by_list_of_events(_sandbox: StripeSandbox) -> None:
    """No webhook arrives; the events are found in Stripe's list."""
    with pytest.MonkeyPatch.context() as patch:
        # Nobody waits ten minutes for a webhook.
        patch.setattr(missed_events, "SETTLED", -timedelta(seconds=2))
        missed_events.look()
    due_now()
    work()


def by_daily_look(_sandbox: StripeSandbox) -> None:
    """Neither webhook nor list: each subscription is read once a day, and the drafts are listed."""
    Subscription.objects.update(synced_at=timezone.now() - timedelta(days=2))
    syncing.look_at_subscriptions()
    settling.look_for_drafts()


ALL: list[Hear] = [by_webhook, by_webhook_twice, by_list_of_events, by_daily_look]
OF_EVENTS: list[Hear] = ALL[:3]


def settle_all(sandbox: StripeSandbox, hear: Hear = by_webhook) -> None:
    """An hour later: meters have caught up, drafts become final and are paid, and we hear of it."""
    UsageBatch.objects.filter(done_at__isnull=False).update(
        done_at=timezone.now() - timedelta(hours=1)
    )
    settle()
    hear(sandbox)
