"""The ceiling of unpaid use: what an organization may owe, with what is held for images that will be owed.

A new card may owe little. What it has paid raises the ceiling, and a failed payment lowers it until it is paid.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import F, Q, Sum

from billing.ledger import budgets, pricing
from billing.models import Budget, Hold, Invoice, Subscription, UsageBatch, payment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from accounts.models import Organization

# Stripe charges no card for less: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
LEAST_CHARGE_MICROS = 500_000


def ceiling_micros(row: Subscription) -> int | None:
    """The most that may be owed and held; None where there is no ceiling.

    There is none before the organization's invoices were read for the first time, since until then the ledger has
    none of its payments.
    """
    failed = _ceiling_after_failure_micros(row)
    if row.invoices_read_at is None:
        return failed
    usual = _usual_ceiling_micros(row)
    return usual if failed is None else min(usual, failed)


def _usual_ceiling_micros(row: Subscription) -> int:
    """While no payment has failed: the operators' own figure, or by the settings."""
    if row.unpaid_limit_micros is not None:
        return row.unpaid_limit_micros
    by_settings = settings.SPENDING
    raised_by = max(row.paid_micros, 0) * by_settings.unpaid_paid_percent // 100
    return min(by_settings.unpaid_micros + raised_by, by_settings.unpaid_most_micros)


def _ceiling_after_failure_micros(row: Subscription) -> int | None:
    """One allowance above what was owed and held when the payment failed; None while none has."""
    if row.past_due_since is None:
        return None
    return row.past_due_owed_micros + payment.GRACE_ALLOWANCE_MICROS


@dataclass(frozen=True)
class UnpaidUse:
    """What an organization owes, and its ceiling (None: it has none); it may have paid more than it owes."""

    owed_micros: int
    held_micros: int
    ceiling_micros: int | None

    @property
    def micros(self) -> int:
        """What counts against the ceiling, as people read it: never below zero."""
        return max(self.owed_micros + self.held_micros, 0)

    @property
    def left_micros(self) -> int | None:
        """What may still be owed; None where there is no ceiling."""
        if self.ceiling_micros is None:
            return None
        return max(self.ceiling_micros - self.owed_micros - self.held_micros, 0)

    @cached_property
    def ceiling_reached(self) -> bool:
        """Whether not even the cheapest image on offer fits under the ceiling any more."""
        left = self.left_micros
        return left is not None and left < pricing.least_price_micros()

    @property
    def percent(self) -> int:
        """How much of the ceiling is taken, 0 to 100; 100 where it is zero or there is none."""
        if not self.ceiling_micros:
            return 100
        return min(100, 100 * self.micros // self.ceiling_micros)


def unpaid_use(
    organization: Organization, row: Subscription | None, budget: Budget | None = None
) -> UnpaidUse:
    """What the organization owes now; `row` is its subscription, and `budget` its budget where it was read."""
    budget = budget or Budget.objects.of_organization(organization).first()
    # The budget is created with the first image.
    return _read(budget or Budget(**budgets.debts_of(organization.pk)), row)


def _read(budget: Budget, row: Subscription | None) -> UnpaidUse:
    return UnpaidUse(
        owed_micros=budget.owed_micros,
        held_micros=budget.owed_pending_micros,
        ceiling_micros=ceiling_micros(row) if row else None,
    )


def past_percent(percent: int) -> Iterator[tuple[Organization, UnpaidUse]]:
    """Organizations in good standing whose unpaid use has reached that percentage of their ceiling."""
    whose = "organization__subscription__"
    good_standing: dict[str, object] = {
        f"{whose}status__in": Subscription.SERVED,
        f"{whose}frozen_at": None,
        f"{whose}invoices_read_at__isnull": False,
    }
    # By the row alone few can have reached it: no ceiling by the settings is lower.
    least = min(settings.SPENDING.unpaid_micros, settings.SPENDING.unpaid_most_micros)
    may_have = Q(unpaid__gte=least * percent // 100) | Q(
        **{f"{whose}unpaid_limit_micros__isnull": False}, unpaid__gt=0
    )
    rows = (
        Budget.objects.filter(api_key=None, **good_standing)
        .alias(unpaid=F("owed_micros") + F("owed_pending_micros"))
        .filter(may_have)
        .select_related("organization__subscription")
    )
    for row in rows.order_by("organization"):
        use = _read(row, row.organization.subscription)
        if _reaches(use.micros, percent, use.ceiling_micros):
            yield row.organization, use


def _reaches(micros: int, percent: int, ceiling_micros: int | None) -> bool:
    return ceiling_micros is not None and micros * 100 >= ceiling_micros * percent


def interim_due() -> list[int]:
    """Ids of organizations whose use that no invoice bills yet calls for one before their period ends.

    Those with a draft of ours are left out: it will bill that use.
    """
    percent = settings.SPENDING.interim_percent
    ceilings = {organization.pk: use.ceiling_micros for organization, use in past_percent(percent)}
    drafts = Invoice.objects.drafts().filter(kind__in=Invoice.OWN, organization__in=ceilings)
    for organization in drafts.values_list("organization", flat=True):
        del ceilings[organization]
    return [
        pk
        for pk, micros in unbilled_micros(ceilings).items()
        if micros >= LEAST_CHARGE_MICROS and _reaches(micros, percent, ceilings[pk])
    ]


def unbilled_micros(organizations: Collection[int]) -> Counter[int]:
    """What these organizations used that no invoice bills yet, by their ids: batches, and images in none."""
    batches = UsageBatch.objects.unclaimed().filter(organization__in=organizations).order_by()
    images = Hold.objects.order_by().filter(
        organization__in=organizations,
        state=Hold.State.CAPTURED,
        payer=Hold.Payer.SUBSCRIPTION,
        usage_batch=None,
    )
    price = F("quantity") * F("price__amount_micros")
    sums: Counter[int] = Counter()
    for rows in (
        batches.values_list("organization").annotate(micros=Sum(price)),
        images.values_list("organization").annotate(micros=Sum("amount_micros")),
    ):
        sums.update(dict(rows))
    return sums
