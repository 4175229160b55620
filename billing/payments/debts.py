"""What customers owe us, and where it stands: not invoiced yet, on drafts, on open invoices by their age.

One query for each sum, over all organizations.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q, Sum
from django.utils import timezone

from accounts.models import Organization
from billing.amounts import MICROS_PER_CENT
from billing.models import Budget, Hold, Invoice, UsageBatch

# Days since an invoice became final.
AGES = (30, 60)
# What a list calls each sum.
COLUMNS = {
    "owed": "owed_micros",
    "not invoiced": "not_invoiced_micros",
    "on drafts": "on_drafts_micros",
    "open, 0-30 days": "open_30_micros",
    "31-60 days": "open_60_micros",
    "61+ days": "open_older_micros",
    "rest": "other_micros",
    "uncollectible": "uncollectible_micros",
}


@dataclass
class Debt:
    """One organization's, in micro-dollars. `uncollectible_micros` is written off, and not owed any more."""

    organization: Organization
    owed_micros: int = 0
    not_invoiced_micros: int = 0
    on_drafts_micros: int = 0
    open_30_micros: int = 0
    open_60_micros: int = 0
    open_older_micros: int = 0
    uncollectible_micros: int = 0

    @property
    def other_micros(self) -> int:
        """The rest: above zero it waits for a later invoice (Stripe collects no few cents), below it is our debt."""
        return self.owed_micros - (
            self.not_invoiced_micros
            + self.on_drafts_micros
            + self.open_30_micros
            + self.open_60_micros
            + self.open_older_micros
        )

    @property
    def amounts(self) -> list[int]:
        """The sums in the order of `COLUMNS`."""
        return [getattr(self, name) for name in COLUMNS.values()]


def sums_of(found: list[Debt]) -> list[int]:
    """The sums over all of them in the order of `COLUMNS`."""
    return [sum(column) for column in zip(*(debt.amounts for debt in found), strict=True)] or [
        0 for _ in COLUMNS
    ]


def debts() -> list[Debt]:
    """Of each organization that owes or is owed something, or whose invoice is uncollectible; the most first."""
    sums: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for found in (_owed(), _not_in_batches(), _in_batches(), _on_drafts(), _invoiced()):
        for organization, amounts in found.items():
            for name, micros in amounts.items():
                sums[organization][name] = sums[organization].get(name, 0) + micros
    counted = {pk: amounts for pk, amounts in sums.items() if any(amounts.values())}
    organizations = Organization.objects.in_bulk(counted)
    rows = [Debt(organizations[pk], **amounts) for pk, amounts in counted.items()]
    return sorted(rows, key=lambda debt: (-debt.owed_micros, debt.organization.pk))


Sums = dict[int, dict[str, int]]


def _owed() -> Sums:
    rows = Budget.objects.filter(api_key=None).exclude(owed_micros=0)
    return {
        pk: {"owed_micros": owed} for pk, owed in rows.values_list("organization", "owed_micros")
    }


def _not_in_batches() -> Sums:
    """Captured, and not sealed into a batch yet."""
    holds = Hold.objects.filter(
        state=Hold.State.CAPTURED, payer=Hold.Payer.SUBSCRIPTION, usage_batch=None
    )
    rows = holds.order_by().values("organization").annotate(micros=Sum("amount_micros"))
    return {row["organization"]: {"not_invoiced_micros": row["micros"]} for row in rows}


def _in_batches() -> Sums:
    """Batches that no invoice claims yet."""
    return _batches("not_invoiced_micros", invoice_line=None, write_off=None)


def _on_drafts() -> Sums:
    """Batches that a draft claims."""
    return _batches("on_drafts_micros", invoice_line__invoice__status=Invoice.Status.DRAFT)


def _batches(name: str, **which: Any) -> Sums:
    micros = Sum(F("quantity") * F("price__amount_micros"))
    rows = UsageBatch.objects.filter(**which).order_by().values("organization")
    return {row["organization"]: {name: row["micros"]} for row in rows.annotate(micros=micros)}


def _invoiced() -> Sums:
    """What is due on invoices: open ones by their age, and uncollectible ones."""
    final = Invoice.objects.filter(
        status__in=[Invoice.Status.OPEN, Invoice.Status.UNCOLLECTIBLE]
    ).order_by()
    due = (F("due_cents") - F("paid_cents")) * MICROS_PER_CENT
    buckets = _buckets(timezone.now())
    rows = final.values("organization").annotate(
        **{name: Sum(due, filter=which) for name, which in buckets.items()}
    )
    return {
        row["organization"]: {name: row.get(name) or 0 for name in buckets}  # type: ignore[misc]
        for row in rows
    }


def _buckets(now: datetime) -> dict[str, Q]:
    is_open = Q(status=Invoice.Status.OPEN)
    first, second = (now - timedelta(days=days) for days in AGES)
    return {
        "open_30_micros": is_open & Q(finalized_at__gt=first),
        "open_60_micros": is_open & Q(finalized_at__gt=second, finalized_at__lte=first),
        "open_older_micros": is_open & Q(finalized_at__lte=second),
        "uncollectible_micros": Q(status=Invoice.Status.UNCOLLECTIBLE),
    }
