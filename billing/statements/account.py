"""The statement of account of one month: what was owed, charged, given back and paid, from the ledger alone.

It is for staff: it adds up all entries before the month, which may take a while.
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import Count, Q, Sum

from accounts.models import Organization
from billing.ledger.usage import Period
from billing.ledger.usage_hours import midnight
from billing.models import LedgerEntry, LedgerQuerySet, Price
from billing.statements.figures import AccountStatement, Figure, images_at, name_of
from billing.statements.words import words_of

Account = LedgerEntry.Account
Kind = LedgerEntry.Kind
OWED = Q(debit=Account.RECEIVABLE) | Q(credit=Account.RECEIVABLE)


def statement_of(organization: Organization, period: Period) -> AccountStatement:
    """The organization's account in that period of whole UTC days."""
    start, end = midnight(period.start), midnight(period.end)
    entries = LedgerEntry.objects.for_organization(organization)
    of_period = entries.filter(created_at__gte=start, created_at__lt=end)
    charges = _images(of_period, Account.RECEIVABLE)
    credits_: list[Figure] = []
    payments: list[Figure] = []
    apart: list[Figure] = []
    rows = of_period.exclude(kind=Kind.CAPTURE).select_related("invoice")
    for entry in rows.order_by("created_at", "pk"):
        figure = Figure(
            words_of(entry), entry.amount_micros, entry.created_at, name_of(entry.invoice)
        )
        if entry.debit == Account.RECEIVABLE:
            charges.append(figure)
        elif entry.credit != Account.RECEIVABLE:
            apart.append(figure)
        elif entry.kind == Kind.PAYMENT:
            payments.append(figure)
        else:
            credits_.append(figure)
    return AccountStatement(
        organization=str(organization),
        start=start,
        end=end,
        opening_micros=_owed_before(entries, start),
        charges=charges,
        credits=credits_,
        payments=payments,
        paid_by_credit=_images(of_period, Account.CUSTOMER_CREDIT),
        apart=apart,
    )


def _owed_before(entries: LedgerQuerySet, moment: datetime) -> int:
    sums = (
        entries.filter(OWED, created_at__lt=moment)
        .order_by()
        .aggregate(
            charged=Sum("amount_micros", filter=Q(debit=Account.RECEIVABLE), default=0),
            settled=Sum("amount_micros", filter=Q(credit=Account.RECEIVABLE), default=0),
        )
    )
    return int(sums["charged"] - sums["settled"])


def _images(entries: LedgerQuerySet, account: LedgerEntry.Account) -> list[Figure]:
    """Images charged to that account, one figure for each price."""
    rows = (
        entries.filter(kind=Kind.CAPTURE, debit=account)
        .order_by()
        .values_list("hold__price")
        .annotate(images=Count("pk"), micros=Sum("amount_micros"))
    )
    sums = {price: (images, micros) for price, images, micros in rows}
    prices = Price.objects.filter(pk__in=sums).order_by("model", "size", "version")
    return [Figure(images_at(price, sums[price.pk][0]), sums[price.pk][1]) for price in prices]
