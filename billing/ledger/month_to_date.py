"""What an organization or a key has spent and held in the current month, and its cap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from billing.ledger import budgets, pricing
from billing.models import Budget, Hold

if TYPE_CHECKING:
    from datetime import date

    from accounts.models import ApiKey, Organization


@dataclass(frozen=True)
class MonthToDate:
    """A calendar month (UTC) so far; `in_flight` counts images of any month."""

    month: date
    spent_micros: int
    held_micros: int
    in_flight: int
    cap_micros: int | None

    @property
    def reserved_micros(self) -> int:
        """What counts against the cap."""
        return self.spent_micros + self.held_micros

    @property
    def remaining_micros(self) -> int | None:
        """What the cap still allows; None without one. It may have been lowered below what is spent."""
        return None if self.cap_micros is None else max(self.cap_micros - self.reserved_micros, 0)

    @property
    def percent(self) -> int:
        """How much of the cap is taken, 0 to 100; 100 where the cap is zero or there is none."""
        if not self.cap_micros:
            return 100
        return min(100, 100 * self.reserved_micros // self.cap_micros)

    @cached_property
    def cap_reached(self) -> bool:
        """Whether not even the cheapest image on offer fits under the cap any more."""
        left = self.remaining_micros
        return left is not None and left < pricing.least_price_micros()


def of(organization: Organization, budget: Budget | None = None) -> MonthToDate:
    """What the organization's own budget says now, as the next image would find it; `budget` where it was read."""
    budget = budget or Budget.objects.of_organization(organization).first()
    if budget is None:
        # The budget is created with the first image.
        month = budgets.this_month()
        holds = Hold.objects.filter(organization=organization)
        budget = Budget(month=month, **budgets.sums_of(holds, month))
    return _read(budget, organization.monthly_cap_micros)


def of_key(key: ApiKey) -> MonthToDate:
    """The current month of a key, together with those that it was rotated from or to."""
    budget = Budget.objects.of_key(key).first() or Budget(month=budgets.this_month())
    return _read(budget, key.monthly_cap_micros)


def _read(budget: Budget, cap_micros: int | None) -> MonthToDate:
    """The month as the row says; a row of an older month says that nothing of this one is spent."""
    month = budgets.this_month()
    current = budget.month >= month
    return MonthToDate(
        month=max(month, budget.month),
        spent_micros=budget.posted_micros if current else 0,
        held_micros=budget.pending_micros if current else 0,
        in_flight=budget.in_flight,
        cap_micros=cap_micros,
    )
