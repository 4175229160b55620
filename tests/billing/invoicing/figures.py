"""What a case came to, in cents, each figure from another place, and the table of all cases.

| figure | where it is read |
|---|---|
| images | holds that were captured for the subscription |
| captures | the ledger: captures on account |
| metered | the sandbox's meters, of customers that it still has |
| by items | the sandbox's final invoices: items of ours, which say what the meters do not |
| invoiced | the sandbox's final invoices: all lines |
| paid | the sandbox's charges |
| refunds | the ledger: what was given back of what the subscription paid |
| back | the sandbox's charges: what went back to cards |
| lost | the ledger: what was written off |
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, fields
from fractions import Fraction
from typing import Any, Self

from django.db import connection
from django.db.models import Sum

from billing.amounts import MICROS_PER_CENT
from billing.invoicing import comparing
from billing.models import Budget, Hold, LedgerEntry, UsageBatch
from ecohash import reconcile
from tests.cast import Person
from tests.stripe_sandbox import StripeSandbox

# What came of the same steps at 9a1d955, the last commit at which invoices were not compared with the ledger.
BEFORE = {
    "M1 two checkouts, heard by webhook": "60 used, 120 billed",
    "M2 ended, heard by webhook": "80 of 140 never billed",
    "M3 away, failed attempts: 1": "70 of 200 never billed",
    "M4 deleted, subscribes again, heard by webhook": "60 of 70 never billed",
    "M4 deleted for good, written off": "60 never billed, and no entry",
    "M5 four price changes, one refused": "the fourth price held for nobody",
    "M5 one refused, proof and books": "neither was compared",
    "M6 one of six lost, told 0 times": "20 of 180 never billed",
    "M7 no spend limit, heard by webhook": "40000 owed after 200 images, and no end",
    "M8 canceled, heard by webhook": "10 on a balance, 0 on the card",
    "M9 (a) grace over a month's end": "1000 of grace",
    "M9 (b) totals lag at reconcile --fix": "sent again: 120 billed for 60",
    "M9 (c) voided, heard by webhook": "a difference, for 100 days",
}
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Figures:
    """Whole cents."""

    images: int
    captures: int
    metered: int
    items: int
    invoiced: int
    paid: int
    refunds: int = 0
    back: int = 0
    lost: int = 0

    def __add__(self, other: Self) -> "Figures":
        sums = (sum(pair) for pair in zip(astuple(self), astuple(other), strict=True))
        return Figures(*sums)

    def check(self, *, unmetered: int = 0) -> None:
        """All are equal, but for what was given back or lost.

        Args:
            unmetered: What the case keeps from the meters.
        """
        assert self.images == self.captures, self
        assert self.captures - self.lost == self.invoiced == self.paid, self
        assert self.metered == self.images - unmetered, self
        assert self.refunds == self.back, self


def figures_of(person: Person, sandbox: StripeSandbox) -> Figures:
    """What that person's use came to."""
    of = {"organization": person.organization}
    images = Hold.objects.filter(**of, state="captured", payer="subscription")
    entries = LedgerEntry.objects.filter(**of)
    lost = _cents(entries.filter(debit="losses")) - _cents(entries.filter(credit="losses"))
    metered = _metered(person, sandbox)
    items = invoiced = 0
    for line in _lines(person, sandbox):
        invoiced += line.amount
        if line.parent.type == "invoice_item_details":
            items += line.amount
    charges = _charges(person, sandbox)
    return Figures(
        images=_cents(images),
        captures=_cents(entries.filter(kind="capture", debit="receivable")),
        metered=metered,
        items=items,
        invoiced=invoiced,
        paid=sum(each.amount_captured for each in charges),
        refunds=_cents(entries.filter(kind="refund", credit="receivable")),
        back=sum(each.amount_refunded for each in charges),
        lost=lost,
    )


def _cents(rows: Any) -> int:
    micros = rows.aggregate(sum=Sum("amount_micros"))["sum"] or 0
    # No price of a case leaves part of a cent, so that nothing is rounded.
    assert micros % MICROS_PER_CENT == 0
    return int(micros // MICROS_PER_CENT)


def _metered(person: Person, sandbox: StripeSandbox) -> int:
    v1 = sandbox.client().v1
    cents = {
        price.recurring.meter: Fraction(str(price.unit_amount_decimal))
        for price in v1.prices.list({"limit": 100}).data
        if price.recurring
    }
    by_name = {
        meter.event_name: cents[meter.id]
        for meter in v1.billing.meters.list({"limit": 100}).data
        if meter.id in cents
    }
    totals = sandbox.usage()["totals"]
    found = sum(
        images * by_name[name]
        for customer in v1.customers.list({"email": person.user.email}).data
        for name, images in totals.get(customer.id, {}).items()
    )
    assert found == int(found)
    return int(found)


def _lines(person: Person, sandbox: StripeSandbox) -> Iterator[Any]:
    """Of all invoices that ask for money: drafts do not yet."""
    v1 = sandbox.client().v1
    for invoice in v1.invoices.list({"limit": 100}).data:
        assert invoice.status != "draft", f"{invoice.id} is still a draft"
        if invoice.customer_email == person.user.email and invoice.status != "void":
            yield from v1.invoices.line_items.list(invoice.id, {"limit": 100}).data


def _charges(person: Person, sandbox: StripeSandbox) -> list[Any]:
    v1 = sandbox.client().v1
    mine = {
        invoice.customer
        for invoice in v1.invoices.list({"limit": 100}).data
        if invoice.customer_email == person.user.email
    }
    found = v1.charges.list({"limit": 100}).data
    return [each for each in found if each.customer in mine and each.paid]


def check_books() -> None:
    """Nothing is open, and neither the books themselves nor Stripe's say otherwise."""
    assert not UsageBatch.objects.unclaimed().exists()
    owed = Budget.objects.filter(api_key=None).values_list("owed_micros", flat=True)
    assert set(owed) <= {0}
    # Pictures are no part of these cases: only their money is.
    found = [line for line in reconcile.differences() if not line.startswith("I2 ")]
    assert found == []
    assert list(comparing.compare()) == []


# --- the table ------------------------------------------------------------------------------------


@dataclass
class Table:
    """One row for each case; printed at the end of a run with `-s` (`make test-money`)."""

    rows: dict[str, Figures] = field(default_factory=dict)

    def add(self, case: str, figures: Figures) -> None:
        """A row that was checked; the case is called as in `BEFORE`, where it was measured before."""
        self.rows[case] = figures

    def markdown(self) -> str:
        """The whole table, in cents."""
        heads = ["case", "before", *(each.name for each in fields(Figures))]
        lines = [f"In cents, on {connection.vendor}:", "", _row(heads)]
        lines.append(_row(["---", "---", *["---:" for _ in fields(Figures)]]))
        for case, figures in sorted(self.rows.items()):
            cells = map(str, astuple(figures))
            lines.append(_row([case, BEFORE.get(case, NOT_MEASURED), *cells]))
        return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
