"""Where an organisation stands in the current month: what is spent and held, against its cap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from billing import budgets, pricing
from billing.models import Budget, Hold

if TYPE_CHECKING:
    from datetime import date

    from accounts.models import Organization


@dataclass(frozen=True)
class Standing:
    """A calendar month (UTC) so far. `cheapest_micros` is the price of the cheapest image on offer."""

    month: date
    spent_micros: int
    held_micros: int
    cap_micros: int | None
    cheapest_micros: int

    @property
    def reserved_micros(self) -> int:
        """What counts against the cap."""
        return self.spent_micros + self.held_micros

    @property
    def percent(self) -> int:
        """How much of the cap is taken, 0 to 100; 100 where the cap is nothing."""
        if not self.cap_micros:
            return 100
        return min(100, 100 * self.reserved_micros // self.cap_micros)

    @property
    def is_full(self) -> bool:
        """Whether not even the cheapest image fits under the cap any more."""
        return (
            self.cap_micros is not None
            and self.reserved_micros + self.cheapest_micros > self.cap_micros
        )


def of(organization: Organization) -> Standing:
    """What the organisation's own budget says now, as the next image would find it."""
    month = budgets.this_month()
    budget = Budget.objects.of_organization(organization).first()
    if budget is None:
        # No image was admitted since there are budgets.
        holds = Hold.objects.filter(organization=organization)
        budget = Budget(month=month, **budgets.sums_of(holds, month))
    is_current = budget.month >= month
    prices = pricing.prices_in_force(pricing.DEFAULT_MODEL).values()
    return Standing(
        month=max(month, budget.month),
        spent_micros=budget.posted_micros if is_current else 0,
        held_micros=budget.pending_micros if is_current else 0,
        cap_micros=organization.monthly_cap_micros,
        cheapest_micros=min((price.amount_micros for price in prices), default=0),
    )
