"""The current billing period of a subscription so far, from our own ledger: what the next invoice will bill."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Sum
from django.utils import timezone

from billing.ledger import usage_hours
from billing.ledger.usage import Spend
from billing.models import Hold, LedgerEntry, Refund, Subscription

# A forecast from less time would follow the hour of the day.
ENOUGH = timedelta(days=1)
TICK = timedelta.resolution


@dataclass(frozen=True)
class PeriodToDate:
    """What the subscription paid since `start`, by size, the dearest first; `end` is when the invoice is written."""

    start: datetime
    end: datetime
    now: datetime
    sizes: list[Spend]
    given_back_micros: int

    @property
    def images(self) -> int:
        return sum(spend.images for spend in self.sizes)

    @property
    def charged_micros(self) -> int:
        return sum(spend.micros for spend in self.sizes)

    @property
    def micros(self) -> int:
        """Below zero where more was given back than used: the rest waits for a later invoice."""
        return self.charged_micros - self.given_back_micros

    @property
    def forecast_micros(self) -> int | None:
        """The invoice if all goes on at this pace; None while it is too early to say, or the period is over."""
        passed = self.now - self.start
        if not ENOUGH <= passed < self.end - self.start:
            return None
        # As numbers: a time multiplied by these micros overflows, in a month from $33 on.
        whole = self.charged_micros * ((self.end - self.start) // TICK) / (passed // TICK)
        return max(round(whole) - self.given_back_micros, 0)


def of(subscription: Subscription) -> PeriodToDate | None:
    """The period that Stripe named last; None before the first."""
    if subscription.period_start is None or subscription.period_end is None:
        return None
    sums = usage_hours.sums(
        subscription.organization,
        start=subscription.period_start,
        group_by=("size",),
        payer=Hold.Payer.SUBSCRIPTION,
    )
    sizes = [Spend(size, images, micros) for (_, size), (images, micros) in sums.items()]
    given_back = Refund.objects.filter(
        organization=subscription.organization,
        entry__credit=LedgerEntry.Account.RECEIVABLE,
        entry__created_at__gte=subscription.period_start,
    )
    return PeriodToDate(
        start=subscription.period_start,
        end=subscription.period_end,
        now=timezone.now(),
        sizes=sorted(sizes, key=lambda spend: (-spend.micros, spend.label)),
        given_back_micros=given_back.aggregate(sum=Sum("entry__amount_micros"))["sum"] or 0,
    )
