"""The trial balance of a month: what each account held before, what was debited and credited, what it holds after."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import BigIntegerField, Q, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from billing.ledger.usage import Period
from billing.ledger.usage_hours import midnight
from billing.models import Budget, LedgerEntry

Account = LedgerEntry.Account


@dataclass
class AccountBalance:
    """One account in micro-dollars; a balance is debits less credits, so below zero the account is in credit."""

    account: LedgerEntry.Account
    opening_micros: int = 0
    debit_micros: int = 0
    credit_micros: int = 0

    @property
    def closing_micros(self) -> int:
        """What it holds at the end of the month."""
        return self.opening_micros + self.debit_micros - self.credit_micros


@dataclass(frozen=True)
class TrialBalance:
    """All accounts over a period; `faults` are sentences, and empty where the books agree."""

    period: Period
    accounts: list[AccountBalance]
    faults: list[str]

    @property
    def debit_micros(self) -> int:
        """All debits of the period."""
        return sum(each.debit_micros for each in self.accounts)

    @property
    def credit_micros(self) -> int:
        """All credits of the period."""
        return sum(each.credit_micros for each in self.accounts)


def of(period: Period) -> TrialBalance:
    """Add up the whole ledger, in one query: a capture between two of them would look like a fault."""
    start, end = midnight(period.start), midnight(period.end)
    accounts = {account: AccountBalance(account) for account in Account}
    receivable = owed = 0
    for row in _sums(start, end):
        for side, sign in (("debit", 1), ("credit", -1)):
            account = accounts[Account(row[side])]
            account.opening_micros += sign * row["before"]
            if sign > 0:
                account.debit_micros += row["within"]
            else:
                account.credit_micros += row["within"]
        on_account = (row["debit"] == Account.RECEIVABLE) - (row["credit"] == Account.RECEIVABLE)
        receivable += on_account * row["total"]
        owed = row["owed"]
    found = TrialBalance(period, list(accounts.values()), [])
    found.faults.extend(_faults(found, receivable, owed))
    return found


def _sums(start: datetime, end: datetime) -> list[dict[str, Any]]:
    owed = (
        Budget.objects.filter(api_key=None)
        .order_by()
        .values(all=Value(1))
        .annotate(sum=Sum("owed_micros"))
        .values("sum")
    )
    before = Q(created_at__lt=start)
    return list(
        LedgerEntry.objects.order_by()
        .values("debit", "credit")
        .annotate(
            before=Coalesce(Sum("amount_micros", filter=before), 0),
            within=Coalesce(Sum("amount_micros", filter=~before & Q(created_at__lt=end)), 0),
            total=Sum("amount_micros"),
            owed=Coalesce(Subquery(owed, output_field=BigIntegerField()), 0),
        )
    )


def _faults(found: TrialBalance, receivable: int, owed: int) -> list[str]:
    """What does not agree.

    Each entry debits one account and credits another, so that debits and credits differ only where an entry
    names no account of ours.
    """
    faults = []
    if found.debit_micros != found.credit_micros:
        faults.append(
            f"Debits of {found.debit_micros} differ from credits of {found.credit_micros}."
        )
    if closing := sum(each.closing_micros for each in found.accounts):
        faults.append(f"The closing balances add up to {closing} and not to zero.")
    if receivable != owed:
        faults.append(
            f"Customers owe {receivable} by the ledger's receivable, and {owed} by their budgets."
        )
    return faults
