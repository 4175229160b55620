"""Adds up again what is only a sum of other rows: what organizations owe, and hours of open months.

Each transaction that charges an organization changes its budget row, so whoever has locked that row sees all
charges that are over, and every later one waits and adds to what it finds here.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import Coalesce

from billing.ledger import budgets
from billing.models import Budget, LedgerEntry, UsageHour
from ecohash.reconcile import closing
from ecohash.reconcile.entries import Group, wrong_hours
from ecohash.reconcile.spans import snapshot
from ecohash.reconcile.totals import wrong_debts


def repair() -> Iterator[str]:
    """Add up anew whatever differs; yields a sentence for each thing done. Not inside a transaction."""
    with snapshot():
        span = closing.open_months()
        debtors = [organization for organization, _, _ in wrong_debts(span)]
        groups = [group for group, _, _ in wrong_hours(span)]
    for organization in debtors:
        yield _repair_debts(organization)
    for group in groups:
        yield _repair_hour(group)


def _repair_debts(organization: int) -> str:
    with transaction.atomic():
        row = _lock(organization).get()
        debts = budgets.debts_of(organization)
        Budget.objects.filter(pk=row.pk).update(**debts)
    said = ", ".join(f"{name} from {getattr(row, name)} to {debts[name]}" for name in debts)
    return f"organization {organization}: what it owes is added up again, {said}"


def _repair_hour(group: Group) -> str:
    organization, hour, price, payer = group
    with transaction.atomic():
        _lock(organization).first()
        rows = UsageHour.objects.filter(
            organization=organization, hour=hour, price=price, payer=payer
        )
        rows.delete()
        UsageHour.objects.bulk_create(_hours(organization, hour, price, payer))
    return f"organization {organization}: the use of {hour:%Y-%m-%d %H:00} is added up again"


def _lock(organization: int) -> QuerySet[Budget]:
    """The organization's own budget row, locked when it is read."""
    rows = Budget.objects.filter(organization=organization, api_key=None)
    return rows.select_for_update(no_key=True)


def _hours(organization: int, hour: datetime, price: int, payer: str) -> list[UsageHour]:
    """The rows of that hour as the ledger has them; a key that was removed counts as the playground."""
    captures = (
        LedgerEntry.objects.filter(
            organization=organization,
            kind=LedgerEntry.Kind.CAPTURE,
            created_at__gte=hour,
            created_at__lt=hour + timedelta(hours=1),
            hold__price=price,
            hold__payer=payer,
        )
        .order_by()
        .values(key=Coalesce(F("hold__api_key"), 0))
        .annotate(images=Count("pk"), micros=Sum("amount_micros"))
    )
    return [
        UsageHour(organization_id=organization, hour=hour, price_id=price, payer=payer, **row)
        for row in captures
    ]
