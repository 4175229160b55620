"""The periodic tasks, and how often beat sends each. Every one of them may be run twice.

A message that no worker took before the next one is due expires.
"""

from typing import Any

from celery.schedules import crontab

# `/readyz` looks at these. Each is due every two seconds.
DEFAULT_WORKER_TASKS = ("images.sweep", "images.reap")
STRIPE_WORKER_TASKS = ("billing.stripe.send", "billing.stripe.inbox")
LATE_SECONDS = 30
# Each may wait for Stripe until CELERY_TASK_TIME_LIMIT stops it.
LATE_AT_STRIPE_SECONDS = 90
# The Stripe worker sends mails too. While Stripe keeps it waiting, a message must live until it is taken.
MAIL_LIFE_SECONDS = 120


def schedule(*, seal_seconds: int) -> dict[str, Any]:
    """CELERY_BEAT_SCHEDULE; usage is sealed every `seal_seconds`."""
    return {
        "notify workers of waiting jobs": every(2, "images.sweep"),
        "end what is overdue": every(2, "images.reap"),
        "remove expired pictures": every(60, "images.purge"),
        "warn of spend limits": every(15, "billing.alert"),
        "write mails about money": every(5, "billing.notify"),
        "send mails": every(5, "billing.mail.send", expires=MAIL_LIFE_SECONDS),
        "remove old mails": every(300, "billing.look_after_mails"),
        "seal what was used": every(seal_seconds, "billing.seal"),
        "send usage": every(2, "billing.stripe.send"),
        "read the webhooks' inbox": every(2, "billing.stripe.inbox"),
        "settle invoices": every(10, "billing.stripe.settle"),
        "look after invoices": every(300, "billing.stripe.invoices"),
        "send refunds": every(10, "billing.stripe.refund"),
        "book late fees": every(24 * 3600, "billing.stripe.fees"),
        "prove usage": every(60, "billing.stripe.prove"),
        "keep subscriptions": every(60, "billing.stripe.keep"),
        "look at subscriptions": every(300, "billing.stripe.look"),
        "look for missed events": every(300, "billing.stripe.events"),
        "clear expired sessions": every(3600, "ecohash.clear_sessions"),
        "remove what is old": every(24 * 3600, "ecohash.remove_old"),
        "remove unverified accounts": every(3600, "ecohash.remove_unverified"),
        # Each looks whether a check is due, so that one that was lost is made up for.
        "check the books": {
            "task": "ecohash.books.check",
            "schedule": crontab(minute=30),
            "options": {"expires": 3600},
        },
        "notice that the books are not checked": every(600, "ecohash.watch_books"),
    }


def every(seconds: int, task: str, *, expires: int = 0) -> dict[str, Any]:
    """An entry of the schedule: the task, every `seconds`; its message expires then, or after `expires` seconds."""
    return {"task": task, "schedule": float(seconds), "options": {"expires": expires or seconds}}
