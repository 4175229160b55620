"""Monthly caps and images in flight, for an organization and for each of its keys.

Test and reservation are one conditional UPDATE of each budget row, the organization's first and then
the key's: in this order everywhere, so that two transactions never wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import BigIntegerField, Case, Count, F, Q, Sum, When
from django.utils import timezone

from accounts.http.refusals import Refusal
from accounts.limits.plans import limits_of, limits_of_key
from accounts.models import ApiKey, Organization
from billing.models import Budget, Hold, LedgerEntry

if TYPE_CHECKING:
    from billing.models import BudgetQuerySet, HoldQuerySet


class InsufficientQuota(Refusal):
    """No money for this image; each subclass says which."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    # Clients retry a 429 by default; here waiting does not help.
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
    """`limit` images are in flight, as many as may be at once. The caller adds Retry-After."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, limit: int, *, of_key: bool) -> None:
        whose = "this API key" if of_key else "your organization"
        super().__init__(
            f"Rate limit reached: {limit} images are in flight, as many as {whose} may have at once. "
            "Wait for one of them to finish."
        )
        self.of_key = of_key


@dataclass(frozen=True)
class Reservation:
    """What a hold keeps of the budgets that admitted it.

    `spent_micros` is what the organization has spent and held, this image included, and `owed_micros` what it
    owes and its subscription will owe; `caps` are pairs of such a sum and the most that it may be, for each cap
    that there is.
    """

    month: date
    key_budget: Budget | None
    spent_micros: int
    owed_micros: int
    caps: list[tuple[int, int]]


def this_month() -> date:
    """The first day of the current calendar month, in UTC."""
    return datetime.now(UTC).date().replace(day=1)


def reserve(
    *,
    organization: Organization,
    api_key: ApiKey | None,
    amount_micros: int,
    payer: Hold.Payer,
) -> Reservation:
    """Count one more image in flight in both budgets. Call it inside a transaction.

    Organization and key must have been read in it, so that caps and limits are those in force.

    Raises:
        SpendLimitReached, TooManyInFlight: roll back, for one of the two rows may be changed.
    """
    rows = [
        _reserve(
            Budget.objects.of_organization(organization),
            organization=organization,
            family_id=None,
            month=this_month(),
            amount_micros=amount_micros,
            cap_micros=organization.monthly_cap_micros,
            in_flight=limits_of(organization).images_in_flight,
            owed_micros=amount_micros if payer == Hold.Payer.SUBSCRIPTION else 0,
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
                family_id=api_key.family_id,
                month=month,
                amount_micros=amount_micros,
                cap_micros=api_key.monthly_cap_micros,
                in_flight=limits_of_key(api_key).images_in_flight,
            )
        )
        caps.append(api_key.monthly_cap_micros)
    return Reservation(
        month=month,
        key_budget=rows[1] if api_key else None,
        spent_micros=rows[0].reserved_micros,
        owed_micros=rows[0].owed_micros + rows[0].owed_pending_micros,
        caps=[
            (budget.reserved_micros, cap)
            for budget, cap in zip(rows, caps, strict=True)
            if cap is not None
        ],
    )


def _reserve(
    rows: BudgetQuerySet,
    *,
    organization: Organization,
    family_id: int | None,
    month: date,
    amount_micros: int,
    cap_micros: int | None,
    in_flight: int | None,
    owed_micros: int = 0,
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
    if owed_micros:
        more["owed_pending_micros"] = F("owed_pending_micros") + owed_micros
    while not fits.update(**more):
        budget = rows.filter(month__gte=month).first()
        if budget is None:
            _start_month(rows, organization=organization.pk, family_id=family_id, month=month)
        elif cap_micros is not None and budget.reserved_micros + amount_micros > cap_micros:
            raise SpendLimitReached(budget)
        elif in_flight is not None and budget.in_flight >= in_flight:
            raise TooManyInFlight(in_flight, of_key=family_id is not None)
        # Else the image that was in the way ended meanwhile: try again.
    return rows.get()


def _start_month(
    rows: BudgetQuerySet, *, organization: int, family_id: int | None, month: date
) -> None:
    """Start the month, or create the budget on its first use; does nothing where both exist."""
    if rows.filter(month__lt=month).update(
        month=month, pending_micros=0, posted_micros=0, exhausted_at=None
    ):
        return
    if rows.exists():
        return
    if family_id is None:
        _create_organization_budget(organization=organization, month=month)
    else:
        _create_key_budget(organization=organization, family_id=family_id, month=month)


def _create_organization_budget(*, organization: int, month: date) -> None:
    """Create the organization's row, counting the holds that were made before it."""
    # One transaction at a time, before any hold is locked: two that each locked some would wait for each other.
    Organization.objects.select_for_update(no_key=True).get(pk=organization)
    if Budget.objects.filter(organization=organization, api_key=None).exists():
        return
    holds = Hold.objects.filter(organization=organization)
    # A hold that ended meanwhile would find no row to count in, so none may end until ours is there.
    list(holds.pending().order_by("pk").select_for_update(no_key=True).values_list("pk"))
    Budget.objects.create(
        organization_id=organization,
        month=month,
        **sums_of(holds, month),
        **debts_of(organization),
    )


def _create_key_budget(*, organization: int, family_id: int, month: date) -> None:
    """Create the row of a key's rotation family, which takes over the holds that were made before it."""
    budget, made = Budget.objects.get_or_create(
        organization_id=organization, api_key_id=family_id, defaults={"month": month}
    )
    if not made:
        return
    keys = ApiKey.objects.filter(Q(pk=family_id) | Q(root=family_id))
    counted = Q(state=Hold.State.PENDING) | Q(state=Hold.State.CAPTURED, month=month)
    older = Hold.objects.filter(counted, api_key__in=keys, key_budget=None)
    # One that is ending at this moment is left out: its transaction may wait for ours.
    free = older.select_for_update(no_key=True, skip_locked=True)
    Hold.objects.filter(pk__in=free.values("pk")).update(key_budget=budget)
    Budget.objects.filter(pk=budget.pk).update(**sums_of(budget.holds.all(), month))


def sums_of(holds: HoldQuerySet, month: date) -> dict[str, int]:
    """The sums of these holds in a budget of that month, by the budget's field."""
    pending = Q(state=Hold.State.PENDING)
    sums = holds.aggregate(
        pending_micros=Sum("amount_micros", filter=pending & Q(month=month)),
        posted_micros=Sum("amount_micros", filter=Q(month=month, state=Hold.State.CAPTURED)),
        in_flight=Count("pk", filter=pending),
    )
    return {name: value or 0 for name, value in sums.items()}


def debts_of(organization: int) -> dict[str, int]:
    """What the organization with that id owes by the ledger, and what is held to be owed, by the budget's field."""
    receivable = LedgerEntry.Account.RECEIVABLE
    owed = LedgerEntry.objects.filter(organization=organization).aggregate(
        charged=Sum("amount_micros", filter=Q(debit=receivable)),
        settled=Sum("amount_micros", filter=Q(credit=receivable)),
    )
    held = Hold.objects.pending().filter(organization=organization, payer=Hold.Payer.SUBSCRIPTION)
    return {
        "owed_micros": (owed["charged"] or 0) - (owed["settled"] or 0),
        "owed_pending_micros": held.aggregate(sum=Sum("amount_micros"))["sum"] or 0,
    }


def settle(hold: Hold, *, captured: bool) -> None:
    """Count one image less in flight; a captured one is spent in the month that it was admitted in.

    One that the subscription pays is owed from then on: its ledger entry is written in the same transaction.
    """
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
    owed = {}
    if hold.payer == Hold.Payer.SUBSCRIPTION:
        owed["owed_pending_micros"] = F("owed_pending_micros") - amount
        if captured:
            owed["owed_micros"] = F("owed_micros") + amount
    of_organization = Budget.objects.filter(organization=hold.organization_id, api_key=None)
    # As the row says now: a key's budget that was created after this hold was read has taken it over.
    of_family = Budget.objects.filter(pk__in=Hold.objects.filter(pk=hold.pk).values("key_budget"))
    of_organization.update(in_flight=F("in_flight") - 1, **changes, **owed)
    of_family.update(in_flight=F("in_flight") - 1, **changes)


def owe(*, organization: int, micros: int) -> None:
    """Count what the organization with that id owes more, or less where it is below zero.

    In the transaction of the ledger entry that says so: `ledger/entries.py` is the door.
    """
    rows = Budget.objects.filter(organization=organization, api_key=None)
    if not rows.update(owed_micros=F("owed_micros") + micros):
        # The row sums up the ledger, and with it the entry that was just written.
        _create_organization_budget(organization=organization, month=this_month())


def note_exhausted(budget: Budget) -> None:
    """Remember that the cap refused an image, for the alert at 100 %. Outside of the refused transaction."""
    if budget.exhausted_at is not None:
        return
    rows = Budget.objects.filter(organization=budget.organization_id, api_key=budget.api_key_id)
    unmarked = rows.filter(month=budget.month, exhausted_at=None)
    with transaction.atomic():
        # The refused transaction may have begun the month, or the row, and taken it back. The
        # organization's row comes first, as in `reserve`: a key's is never a month ahead of it.
        if budget.api_key_id:
            own = Budget.objects.filter(organization=budget.organization_id, api_key=None)
            _start_month(
                own, organization=budget.organization_id, family_id=None, month=budget.month
            )
        _start_month(
            rows,
            organization=budget.organization_id,
            family_id=budget.api_key_id,
            month=budget.month,
        )
        unmarked.update(exhausted_at=timezone.now())


def set_cap(*, organization: Organization, cap_micros: int | None) -> None:
    """Set the most that the organization may spend in a calendar month (UTC); None lifts it.

    From the next image on. One below what is spent is allowed: new images wait for the next month.
    """
    with transaction.atomic():
        Organization.objects.filter(pk=organization.pk).update(monthly_cap_micros=cap_micros)
        # What the old cap refused says nothing about the new one.
        Budget.objects.of_organization(organization).update(exhausted_at=None)
    organization.monthly_cap_micros = cap_micros
