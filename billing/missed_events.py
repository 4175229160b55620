"""Events that Stripe has and our inbox lacks: webhooks may be lost, switched off, or signed with another secret.

Each look goes on where the last one ended, so that no event is missed however long nobody has looked; Stripe
lists those of 30 days.
"""

import time
from collections import Counter
from datetime import datetime, timedelta

from django.db.models import F, Min
from django.utils import timezone

from billing import webhook_events
from billing.gateway import webhooks
from billing.mails import notices
from billing.models import StripeObject, Subscription, WebhookEvent

# A younger one may still come as a webhook, at Stripe's second try too.
SETTLED = timedelta(minutes=10)
# Our clock and Stripe's differ; events that are known cost nothing.
OVERLAP = timedelta(minutes=10)
LISTED = timedelta(days=29)
# As much is looked at in one go; after each the position is kept.
SLICE = timedelta(hours=6)
DAY = timedelta(days=1)

# Names of rows that keep moments.
LOOKED_UNTIL = "events: looked until"
REFUSED = "webhooks: signatures refused from and until"
# Each process writes it no more often.
REFUSED_EVERY_SECONDS = 60.0


def look(seconds: float = 20.0) -> int:
    """Put events that our inbox lacks into it, for at most that long; returns how many.

    Raises:
        GatewayError: what was looked at before is kept.
    """
    stop_at = time.monotonic() + seconds
    last = (timezone.now() - SETTLED).replace(microsecond=0)
    start = _start(last)
    found = 0
    while start < last and time.monotonic() < stop_at:
        end = min(start + SLICE, last)
        found += _fetch(start, end)
        _keep(end)
        start = end
    if found:
        _tell_staff()
    return found


def _start(last: datetime) -> datetime:
    """Where the last look ended; before the first customer there is nothing of ours."""
    row = StripeObject.objects.filter(name=LOOKED_UNTIL).first()
    earliest = last - LISTED
    if row:
        return max(datetime.fromisoformat(row.stripe_id) - OVERLAP, earliest)
    if not Subscription.objects.exclude(customer_id=None).exists():
        _keep(last)
        return last
    return earliest


def _keep(moment: datetime) -> None:
    text = moment.isoformat()
    _, made = StripeObject.objects.get_or_create(name=LOOKED_UNTIL, defaults={"stripe_id": text})
    if not made:
        # Another process may be further; texts of this form sort as their moments.
        StripeObject.objects.filter(name=LOOKED_UNTIL, stripe_id__lt=text).update(stripe_id=text)


def _fetch(start: datetime, end: datetime) -> int:
    types = sorted(kind for kind in webhook_events.HANDLERS if not kind.startswith("v1."))
    events = {event.id: event for event in webhooks.listed(types=types, start=start, end=end)}
    known = WebhookEvent.objects.filter(event_id__in=events).values_list("event_id", flat=True)
    for event_id in known:
        del events[event_id]
    return sum(
        webhook_events.receive(event)
        for event in sorted(events.values(), key=lambda event: event.created)
    )


def _tell_staff() -> None:
    """Once a day: how many came so in the last day, and how many as webhooks."""
    now = timezone.now()
    received = WebhookEvent.objects.filter(received_at__gt=now - DAY)
    fetched = received.filter(received_at__gte=F("created_at") + SETTLED)
    types = Counter(fetched.values_list("type", flat=True))
    count = sum(types.values())
    since = fetched.aggregate(since=Min("created_at"))["since"]
    notices.note(
        "webhooks_missing",
        subject=now.date().isoformat(),
        count=count,
        since=f"{since:%-d %B %Y, %H:%M}" if since else "",
        arrived=received.count() - count,
        lines=[f"{kind}: {number}" for kind, number in types.most_common()],
        is_secret_wrong=_are_signatures_refused(),
    )


# --- requests with another signature --------------------------------------------------------------

_next_note = 0.0


def note_refused_signature() -> None:
    """Record that a request was signed with another secret than ours; anybody can send one."""
    global _next_note  # noqa: PLW0603 - of this process
    if time.monotonic() < _next_note:
        return
    _next_note = time.monotonic() + REFUSED_EVERY_SECONDS
    now = timezone.now()
    first, _ = _refused() or (now, now)
    text = f"{first.isoformat()} {now.isoformat()}"
    StripeObject.objects.update_or_create(name=REFUSED, defaults={"stripe_id": text})


def _refused() -> tuple[datetime, datetime] | None:
    """The first and the last moment of a series; None where the last is a day ago."""
    row = StripeObject.objects.filter(name=REFUSED).first()
    if row is None:
        return None
    first, last = map(datetime.fromisoformat, row.stripe_id.split())
    return (first, last) if last > timezone.now() - DAY else None


def _are_signatures_refused() -> bool:
    """Whether requests were refused more than once in the last day."""
    refused = _refused()
    return refused is not None and refused[0] < refused[1]
