"""I3: the running totals of credits and budgets are the sums of their holds and of the ledger.

What lies before the span is in the sums that were carried on when its months were closed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Exists, F, OuterRef, Q, Sum
from django.db.models.functions import Coalesce

from billing.models import Budget, Credit, Hold, LedgerEntry
from ecohash.reconcile.spans import Span, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import QuerySet

    from billing.models import HoldQuerySet

RECEIVABLE = LedgerEntry.Account.RECEIVABLE
CUSTOMER_CREDIT = LedgerEntry.Account.CUSTOMER_CREDIT


def sum_where(amount: str, **condition: object) -> Coalesce:
    """The sum of the rows for which the condition holds; 0 where there is none."""
    return Coalesce(Sum(amount, filter=Q(**condition)), 0)


def unlike(whose: str, column: str, recorded: int, total: int, of: str = "holds") -> Iterator[str]:
    """A line if the two differ."""
    if recorded != total:
        yield f"I3 {whose}: {column} is {recorded}, its {of} add up to {total}"


# What was granted: a refund of what credit had paid is credit again.
GRANTED = sum_where("amount_micros", credit=CUSTOMER_CREDIT)
OWED = sum_where("amount_micros", debit=RECEIVABLE) - sum_where("amount_micros", credit=RECEIVABLE)


def credits_are_sums(span: Span) -> Iterator[str]:
    """I3 and I4: each credit row is what its holds and the ledger's grants add up to, and is not overdrawn."""
    of_credit = {"payer": Hold.Payer.CREDIT}
    pending = _by_organization(Hold.objects.pending().filter(**of_credit))
    captured = span.holds().filter(state=Hold.State.CAPTURED, **of_credit)
    posted = _by_organization(captured)
    grants = span.entries().filter(credit=CUSTOMER_CREDIT)
    granted = dict(rows_of(grants.values("organization").annotate(s=GRANTED), "organization", "s"))
    rows = rows_of(Credit.objects.all(), "pk", "granted_micros", "pending_micros", "posted_micros")
    for pk, has_granted, has_pending, has_posted in rows:
        before = span.carried_of(pk)
        whose = f"organization {pk}"
        yield from unlike(whose, "pending", has_pending, pending.get(pk, 0))
        total = before.credit_micros + posted.get(pk, 0)
        yield from unlike(whose, "posted", has_posted, total)
        total = before.granted_micros + granted.get(pk, 0)
        if has_granted != total:
            yield (f"I4 {whose}: granted is {has_granted}, the ledger's grants add up to {total}")
        if has_granted < has_pending + has_posted:
            yield f"I3 {whose} has spent more than it was granted"


def _by_organization(holds: HoldQuerySet) -> dict[int, int]:
    """The sum of these holds for each organization."""
    query = holds.order_by().values("organization").annotate(s=Sum("amount_micros"))
    return dict(rows_of(query, "organization", "s"))


def budgets_are_sums(span: Span) -> Iterator[str]:
    """I3: the totals of each budget row are what its holds add up to, an organization's and a key's."""
    of_organizations = {
        "organization__budgets__api_key": None,
        "month": F("organization__budgets__month"),
    }
    rows = Budget.objects.filter(api_key=None)
    yield from _budgets(span, rows, owner="organization", of_its_month=of_organizations)
    rows = Budget.objects.filter(api_key__isnull=False)
    of_keys = {"month": F("key_budget__month")}
    yield from _budgets(span, rows, owner="key_budget", of_its_month=of_keys)


def _budgets(
    span: Span, budgets: QuerySet[Budget], *, owner: str, of_its_month: dict[str, Any]
) -> Iterator[str]:
    """The differences of these budgets; `owner` is the column of their holds that tells whose each is.

    A row that has stayed in a closed month admits nothing before it begins anew: of it only pending holds count.
    """
    held = Hold.objects.pending().order_by().values(owner, "month")
    held = held.annotate(n=Count("pk"), s=Sum("amount_micros"))
    pending, in_flight = {}, Counter[int]()
    for pk, month, count, micros in rows_of(held, owner, "month", "n", "s"):
        pending[pk, month] = micros
        in_flight[pk] += count
    captured = span.holds().filter(state=Hold.State.CAPTURED, **of_its_month).values(owner)
    posted = dict(rows_of(captured.annotate(s=Sum("amount_micros")), owner, "s"))
    columns = ("pk", "organization", "api_key", "month")
    for row in rows_of(budgets, *columns, "pending_micros", "posted_micros", "in_flight"):
        pk, organization, key, month, has_pending, has_posted, has_in_flight = row
        whose = f"key {key}'s budget" if key else f"organization {organization}'s budget"
        mine = pk if key else organization
        yield from unlike(whose, "pending", has_pending, pending.get((mine, month), 0))
        if span.first is None or month >= span.first:
            yield from unlike(whose, "posted", has_posted, posted.get(mine, 0))
        yield from unlike(whose, "in_flight", has_in_flight, in_flight[mine])


def debts_are_sums(span: Span) -> Iterator[str]:
    """I3: what an organization owes is its account in the ledger, as `budgets.debts_of` adds it up."""
    for pk, (has, has_pending), (owed, pending) in wrong_debts(span):
        whose = f"organization {pk}'s budget"
        yield from unlike(whose, "owed", has, owed, of="ledger entries")
        yield from unlike(whose, "owed_pending", has_pending, pending)


Debts = tuple[int, int]


def wrong_debts(span: Span) -> Iterator[tuple[int, Debts, Debts]]:
    """(organization, what its budget says, what it should say) where the two differ: owed, and held to be owed."""
    touched = span.entries().filter(Q(debit=RECEIVABLE) | Q(credit=RECEIVABLE))
    owed = dict(rows_of(touched.values("organization").annotate(s=OWED), "organization", "s"))
    pending = _by_organization(Hold.objects.pending().filter(payer=Hold.Payer.SUBSCRIPTION))
    rows = Budget.objects.filter(api_key=None)
    for pk, has, has_pending in rows_of(rows, "organization", "owed_micros", "owed_pending_micros"):
        total = span.carried_of(pk).owed_micros + owed.get(pk, 0)
        should = (total, pending.get(pk, 0))
        if (has, has_pending) != should:
            yield pk, (has, has_pending), should


def pending_holds_have_a_budget(_span: Span) -> Iterator[str]:
    """I3: the end of a hold is counted somewhere."""
    budget = Budget.objects.filter(organization=OuterRef("organization"), api_key=None)
    without = Hold.objects.pending().filter(~Exists(budget)).order_by()
    for organization in without.values_list("organization", flat=True).distinct():
        yield f"I3 organization {organization} has pending holds and no budget"


def holds_fit_their_cap(span: Span) -> Iterator[str]:
    """I3: nothing was admitted above the limit then in force."""
    above = span.holds().filter(reserved_micros__gt=F("cap_micros"))
    for pk, reserved, cap in rows_of(above, "pk", "reserved_micros", "cap_micros"):
        yield f"I3 hold {pk} reserved {reserved}, above its cap of {cap}"
