"""Monthly caps and images in flight, for an organisation and for each of its keys.

Test and reservation are one conditional UPDATE of each budget row, the organisation's first and then
the key's: in this order everywhere, so that two transactions never wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from django.db.models import BigIntegerField, Case, F, Q, Sum, When
from django.utils import timezone

from accounts.limits import limits_of, limits_of_key
from accounts.refusals import Refusal
from billing.models import Budget, Hold

if TYPE_CHECKING:
    from accounts.models import ApiKey, Organization
    from billing.models import BudgetQuerySet, HoldQuerySet


class InsufficientQuota(Refusal):
    """No money for this image. The text of each kind says which money."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    # Its clients retry 429 by habit; here waiting does not help.
    headers = {"x-should-retry": "false"}
    text = (
        "Your organization has no credit left for this image. Nothing was charged. "
        "See the dashboard's Billing page for what is left."
    )


class SpendLimitReached(InsufficientQuota):
    """The monthly cap does not cover the image."""

    def __init__(self, budget: Budget) -> None:
        whose, page = (
            ("This API key has", "Keys")
            if budget.api_key_id
            else ("Your organization has", "Billing")
        )
        super().__init__(
            f"{whose} reached its spend limit for this month. Nothing was charged. "
            f"Raise the limit on the dashboard's {page} page, or wait for the next month."
        )
        self.budget = budget


class TooManyInFlight(Refusal):
    """As many images are in work as may be; `limit` says how many. Whoever raises it on adds Retry-After."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, limit: int, *, of_key: bool) -> None:
        whose = "this API key" if of_key else "your organization"
        super().__init__(
            f"Rate limit reached: {limit} images are in flight, as many as {whose} may have at once. "
            "Wait for one of them to finish."
        )


@dataclass(frozen=True)
class Reservation:
    """What a hold must remember of the budgets that admitted it.

    `cap` is (spent and held, this image included; the most allowed) under the tightest cap, if any.
    """

    month: date
    key_budget: Budget | None
    cap: tuple[int, int] | None


def this_month() -> date:
    """The first day of the current calendar month, in UTC."""
    return datetime.now(UTC).date().replace(day=1)


def reserve(
    *, organization: Organization, api_key: ApiKey | None, amount_micros: int
) -> Reservation:
    """Count one more image in work in both budgets. Call it inside a transaction.

    Organisation and key must have been read in it, so that caps and limits are those in force.

    Raises:
        SpendLimitReached, TooManyInFlight: roll back, for one of the two rows may be changed.
    """
    rows = [
        _reserve(
            Budget.objects.of_organization(organization),
            organization=organization,
            line_id=None,
            month=this_month(),
            amount_micros=amount_micros,
            cap_micros=organization.monthly_cap_micros,
            in_flight=limits_of(organization).images_in_flight,
        )
    ]
    caps = [organization.monthly_cap_micros]
    # Another host's clock may have begun the next month already.
    month = rows[0].month
    if api_key:
        rows.append(
            _reserve(
                Budget.objects.of_key(api_key),
                organization=organization,
                line_id=api_key.line_id,
                month=month,
                amount_micros=amount_micros,
                cap_micros=api_key.monthly_cap_micros,
                in_flight=limits_of_key(api_key).images_in_flight,
            )
        )
        caps.append(api_key.monthly_cap_micros)
    capped = [
        (budget.reserved_micros, cap)
        for budget, cap in zip(rows, caps, strict=True)
        if cap is not None
    ]
    return Reservation(
        month=month,
        key_budget=rows[1] if api_key else None,
        cap=min(capped, key=lambda cap: cap[1] - cap[0], default=None),
    )


def _reserve(
    rows: BudgetQuerySet,
    *,
    organization: Organization,
    line_id: int | None,
    month: date,
    amount_micros: int,
    cap_micros: int | None,
    in_flight: int | None,
) -> Budget:
    fits = rows.filter(month__gte=month)
    if cap_micros is not None:
        fits = fits.filter(pending_micros__lte=cap_micros - amount_micros - F("posted_micros"))
    if in_flight is not None:
        fits = fits.filter(in_flight__lt=in_flight)
    more = {
        "pending_micros": F("pending_micros") + amount_micros,
        "in_flight": F("in_flight") + 1,
    }
    if not fits.update(**more):
        _open_month(rows, organization=organization, line_id=line_id, month=month)
        if not fits.update(**more):
            budget = rows.get()
            if cap_micros is not None and budget.reserved_micros + amount_micros > cap_micros:
                raise SpendLimitReached(budget)
            raise TooManyInFlight(in_flight or 0, of_key=line_id is not None)
    return rows.get()


def _open_month(
    rows: BudgetQuerySet, *, organization: Organization, line_id: int | None, month: date
) -> None:
    """Begin the month, or the budget itself on its first use; does nothing where both exist."""
    if rows.filter(month__lt=month).update(
        month=month, pending_micros=0, posted_micros=0, exhausted_at=None
    ):
        return
    if not rows.exists():
        # Holds from before there were budgets count from the first day.
        holds = Hold.objects.filter(organization=organization)
        if line_id:
            holds = holds.filter(Q(api_key=line_id) | Q(api_key__root=line_id))
        Budget.objects.get_or_create(
            organization=organization,
            api_key_id=line_id,
            defaults={
                "month": month,
                "in_flight": holds.pending().count(),
                "pending_micros": _sum(holds.filter(month=month, state=Hold.State.PENDING)),
                "posted_micros": _sum(holds.filter(month=month, state=Hold.State.CAPTURED)),
            },
        )


def _sum(holds: HoldQuerySet) -> int:
    return holds.aggregate(sum=Sum("amount_micros"))["sum"] or 0


def settle(hold: Hold, *, captured: bool) -> None:
    """Count one image less in work; a captured one is spent in the month that it was admitted in."""
    amount = hold.amount_micros
    of_this_month = {"pending_micros": F("pending_micros") - amount}
    if captured:
        of_this_month["posted_micros"] = F("posted_micros") + amount
    changes = {
        name: Case(
            When(month=hold.month, then=value), default=F(name), output_field=BigIntegerField()
        )
        for name, value in of_this_month.items()
    }
    rows = [Budget.objects.filter(organization=hold.organization_id, api_key=None)]
    if hold.key_budget_id:
        rows.append(Budget.objects.filter(pk=hold.key_budget_id))
    for row in rows:
        row.update(in_flight=F("in_flight") - 1, **changes)


def note_exhausted(budget: Budget) -> None:
    """Remember that the cap refused an image, for the alert at 100 %. Outside of the refused transaction."""
    if budget.exhausted_at is None:
        Budget.objects.filter(pk=budget.pk, month=budget.month, exhausted_at=None).update(
            exhausted_at=timezone.now()
        )
