"""The books against Stripe's: batches = what its meters counted = the lines of its invoices.

Each difference is one sentence. `repair` sends again what is provably missing there, and takes back what is
provably counted twice; where the figures leave a choice it changes nothing.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Max, Min, Q, Sum
from django.utils import timezone

from billing.gateway import client as gateway
from billing.gateway import invoices, usage
from billing.gateway.errors import GatewayError
from billing.models import MeteredPrice, Subscription, UsageBatch, UsageBatchQuerySet
from billing.reporting import confirming, sending

# Stripe adds up with a lag; a batch younger than that is no difference yet.
LAG = timedelta(minutes=15)
# An event that Stripe took, reported no error for and has not counted after that time is lost.
LAG_IS_OVER = timedelta(hours=24)
# How far back is compared: events older than 35 days cannot change any more.
BACK = timedelta(days=35)
INVOICES_BACK = timedelta(days=100)
WRITTEN = {"open", "paid", "uncollectible"}
# Stripe takes an event back within a day of receiving it.
TAKEN_BACK_WITHIN = timedelta(hours=23)
# May have been counted at Stripe or not.
DOUBTFUL = (UsageBatch.State.UNKNOWN, UsageBatch.State.REJECTED)

Differences = Iterator[str]


def compare(*, organization: int | None = None, lag: timedelta = LAG) -> Differences:
    """I6: all differences (of one organization, or of all), one sentence each; none where the books agree.

    Not inside a transaction.
    """
    mine = Q() if organization is None else Q(organization=organization)
    if not UsageBatch.objects.filter(mine).exists():
        return
    yield from _unfinished(UsageBatch.objects.filter(mine))
    try:
        for group in confirming.groups_of(_tried().filter(mine)):
            yield from _meter(group, lag)
        customers_ = Subscription.objects.filter(mine).exclude(customer_id=None)
        for row in customers_.select_related("organization"):
            yield from _invoices(row)
    except GatewayError as error:
        yield f"I6 Stripe could not be asked: {error}"


def _tried() -> UsageBatchQuerySet:
    since = timezone.now() - BACK
    return UsageBatch.objects.metered().filter(timestamp__gte=since, tries__gt=0)


def _unfinished(batches: UsageBatchQuerySet) -> Differences:
    """Batches that Stripe should have counted, and has not as far as we know."""
    for batch in batches.filter(state__in=DOUBTFUL).order_by("sealed_at"):
        yield (
            f"I6 batch {batch.pk} of organization {batch.organization_id} is {batch.state}: "
            f"{batch.quantity} images may be unbilled ({batch.note})"
        )
    old = timezone.now() - sending.UNSENT_ALARM
    for batch in batches.unsent().filter(sealed_at__lt=old).order_by("sealed_at"):
        yield (
            f"I6 batch {batch.pk} of organization {batch.organization_id} waits since "
            f"{batch.sealed_at:%Y-%m-%d %H:%M} ({batch.note})"
        )


def _count(group: UsageBatchQuerySet, lag: timedelta) -> confirming.Count | None:
    """Stripe's and our count of one meter, without what the lag may hide; None while a batch is being sent."""
    settled = group.filter(timestamp__gte=timezone.now() - BACK, timestamp__lt=timezone.now() - lag)
    window = settled.aggregate(first=Min("timestamp"), last=Max("timestamp"))
    if window["first"] is None or group.filter(state=UsageBatch.State.SENDING).exists():
        return None
    return confirming.count(group, window["first"], window["last"])


def _meter(group: UsageBatchQuerySet, lag: timedelta) -> Differences:
    found = _count(group, lag)
    if found is None or found.agrees:
        return
    one = group.select_related("price")[0]
    yield (
        f"I6 organization {one.organization_id}, {one.price}: Stripe's meter counts {found.at_stripe} images from "
        f"{found.start:%Y-%m-%d %H:%M} to {found.end:%Y-%m-%d %H:%M}, our accepted batches {found.ours}"
    )


def _invoices(row: Subscription) -> Differences:
    """The lines of written invoices are the batches of their periods, for each price."""
    billed: dict[str, int] = {}
    since: dict[str, datetime] = {}
    until: dict[str, datetime] = {}
    for line in _lines(str(row.customer_id)):
        billed[line.price_id] = billed.get(line.price_id, 0) + line.quantity
        since[line.price_id] = min(line.start, since.get(line.price_id, line.start))
        until[line.price_id] = max(line.end, until.get(line.price_id, line.end))
    known = MeteredPrice.objects.filter(stripe_price_id__in=billed).select_related("price")
    for metered in known:
        at = metered.stripe_price_id
        ours = (
            (
                UsageBatch.objects.metered()
                .filter(organization=row.organization, price=metered.price)
                .filter(customer_id=row.customer_id)
                .filter(state__in=[*UsageBatch.TAKEN, UsageBatch.State.VOIDED])
                .filter(timestamp__gte=since[at], timestamp__lt=until[at])
                .aggregate(sum=Sum("quantity"))["sum"]
            )
            or 0
        )
        if ours != billed[at]:
            yield (
                f"I6 organization {row.pk}, {metered.price}: invoices bill {billed[at]} images from "
                f"{since[at]:%Y-%m-%d} to {until[at]:%Y-%m-%d %H:%M}, our batches of that time hold {ours}"
            )


def _lines(customer_id: str) -> Iterator[invoices.InvoiceLine]:
    """The lines of the customer's written invoices, those of the last months."""
    after: str | None = None
    more = True
    while more:
        page, more = invoices.page_of(customer_id, limit=100, after=after)
        for invoice in page:
            after = invoice.id
            if invoice.created < timezone.now() - INVOICES_BACK:
                return
            if invoice.status in WRITTEN:
                yield from invoices.lines_of(invoice.id)


# --- repairing ------------------------------------------------------------------------------------


def repair(*, lag: timedelta = LAG) -> Iterator[str]:
    """Repair what is provable by Stripe's totals; yields a sentence for each thing done.

    Raises:
        GatewayError
    """
    if not gateway.is_configured():
        return
    for group in confirming.groups_of(_tried()):
        if found := _count(group, lag):
            yield from _repair_group(found)


def _repair_group(found: confirming.Count) -> Iterator[str]:
    doubtful = list(found.batches.filter(state__in=DOUBTFUL).order_by("sealed_at"))
    missing = found.ours - found.at_stripe
    if missing == 0:
        yield from map(_send_again, doubtful)
    elif missing == -sum(batch.quantity for batch in doubtful):
        yield from map(_take_as_counted, doubtful)
    elif missing > 0:
        unproven = list(found.batches.filter(state=UsageBatch.State.ACCEPTED))
        late = timezone.now() - LAG_IS_OVER
        if all(batch.done_at and batch.done_at < late for batch in unproven) and (
            missing == sum(batch.quantity for batch in unproven)
        ):
            yield from map(_send_again, [*unproven, *doubtful])
    elif twice := _counted_twice(found, -missing):
        yield _take_back(twice)


def _counted_twice(found: confirming.Count, surplus: int) -> UsageBatch | None:
    """An event of ours that is exactly the surplus: its images are counted there under an identifier that
    we do not know any more, as after a restore of the database.
    """
    recent = timezone.now() - TAKEN_BACK_WITHIN
    taken = found.batches.taken().filter(quantity=surplus, done_at__gte=recent)
    return taken.order_by("-done_at").first()


def _send_again(batch: UsageBatch) -> str:
    """Send again under another identifier: Stripe refuses one that it has seen, even of a dropped event."""
    row = batch.organization.subscription
    UsageBatch.objects.filter(pk=batch.pk, state=batch.state).update(
        state=UsageBatch.State.SEALED,
        timestamp=sending.event_time(batch, row),
        first_tried_at=timezone.now(),
        not_before=timezone.now(),
        identifier_number=batch.identifier_number + 1,
        key_number=1,
        note="missing at Stripe, sent again",
    )
    return f"batch {batch.pk}: {batch.quantity} images were missing at Stripe and are sent again"


def _take_as_counted(batch: UsageBatch) -> str:
    UsageBatch.objects.filter(pk=batch.pk, state=batch.state).update(
        state=UsageBatch.State.CONFIRMED,
        done_at=timezone.now(),
        confirmed_at=timezone.now(),
        note="Stripe's total shows that it was counted",
    )
    return f"batch {batch.pk}: Stripe's total shows that its {batch.quantity} images were counted"


def _take_back(batch: UsageBatch) -> str:
    usage.take_back(event_name=batch.price.metered.event_name, identifier=batch.identifier)
    UsageBatch.objects.filter(pk=batch.pk, state=batch.state).update(
        state=UsageBatch.State.VOIDED, note="counted twice at Stripe, taken back once"
    )
    return f"batch {batch.pk}: its {batch.quantity} images were counted twice, one event was taken back"
