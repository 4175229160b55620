"""The standing chores, and how often beat rings for each. Every one of them may be run twice.

A ring that nobody heard before the next one is due is thrown away.
"""

from typing import Any

from celery.schedules import crontab

# What `/readyz` looks at. Each of these is due two seconds after beat has started, and every two seconds then.
OF_DEFAULT_WORKER = ("images.sweep", "images.reap")
OF_STRIPE_WORKER = ("billing.stripe.send", "billing.stripe.inbox")
LATE_SECONDS = 30
# Each may wait for Stripe until CELERY_TASK_TIME_LIMIT stops it.
LATE_AT_STRIPE_SECONDS = 90


def schedule(*, seal_seconds: int) -> dict[str, Any]:
    """What Celery's beat wants to know."""
    return {
        "ring for waiting jobs": every(2, "images.sweep"),
        "end what is overdue": every(2, "images.reap"),
        "remove expired pictures": every(60, "images.purge"),
        "warn of spend limits": every(15, "billing.alert"),
        "send mails about money": every(5, "billing.notify"),
        "seal what was used": every(seal_seconds, "billing.seal"),
        "send usage": every(2, "billing.stripe.send"),
        "read the webhooks' inbox": every(2, "billing.stripe.inbox"),
        "send refunds": every(10, "billing.stripe.refund"),
        "prove usage": every(60, "billing.stripe.prove"),
        "keep subscriptions": every(300, "billing.stripe.keep"),
        "clear expired sessions": every(3600, "ecohash.clear_sessions"),
        "remove unverified accounts": every(3600, "ecohash.remove_unverified"),
        # In a quiet hour of the largest markets.
        "reconcile": {"task": "ecohash.reconcile", "schedule": crontab(hour=8, minute=30)},
    }


def every(seconds: int, task: str) -> dict[str, Any]:
    """That task, so often."""
    return {"task": task, "schedule": float(seconds), "options": {"expires": seconds}}
