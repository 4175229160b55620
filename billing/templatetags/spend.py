"""What a key has spent, for its page: `{% load spend %}`, `{% spend_of key as spend %}`."""

from dataclasses import dataclass

from django import template

from accounts.models import ApiKey
from billing import budgets
from billing.models import Budget

register = template.Library()


@dataclass(frozen=True)
class Spend:
    """This calendar month (UTC) of a key and all that it was rotated from or to, in micro-dollars."""

    posted_micros: int
    pending_micros: int
    cap_micros: int | None

    @property
    def reserved_micros(self) -> int:
        """What counts against the cap: spent, and held for images in work."""
        return self.posted_micros + self.pending_micros

    @property
    def percent(self) -> int:
        """How much of the cap that is, 0..100; a cap of nothing is always used up."""
        if not self.cap_micros:
            return 100 if self.cap_micros == 0 else 0
        return min(100, 100 * self.reserved_micros // self.cap_micros)


@register.simple_tag
def spend_of(key: ApiKey) -> Spend:
    """The key's spending in the current month; nothing before its first image of the month."""
    budget = Budget.objects.of_key(key).filter(month__gte=budgets.this_month()).first()
    return Spend(
        posted_micros=budget.posted_micros if budget else 0,
        pending_micros=budget.pending_micros if budget else 0,
        cap_micros=key.monthly_cap_micros,
    )
