"""What a statement consists of: plain values, so that pages, text and JSON say the same.

Amounts are micro-dollars, whole cents where Stripe has a say: each sum here is exact, and a test adds them up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from billing.amounts import dollars
from billing.ledger import pricing
from billing.models import Invoice, Price


@dataclass(frozen=True)
class Figure:
    """One amount and what it is; `invoice` names the other invoice that it is about."""

    words: str
    micros: int
    at: datetime | None = None
    invoice: str = ""

    @property
    def off_micros(self) -> int:
        """The same, where it is taken off."""
        return -self.micros


@dataclass(frozen=True)
class Images:
    """A number of images and why they are counted, or below zero: not counted; `invoice` as in `Figure`."""

    words: str
    images: int
    invoice: str = ""


@dataclass(frozen=True)
class PriceFigures:
    """Images of one price on an invoice: used, rounded, carried, and how the lines at Stripe come to it.

    `exact + rounding + carried = target`, and `stripe + correction = target + error = billed`.
    """

    model: str
    size: str
    unit_micros: int
    images: int
    claimed_micros: int
    carried: list[Figure] = field(default_factory=list)
    error_micros: int = 0
    carried_to: str = ""
    stripe_images: int = 0
    stripe_micros: int = 0
    correction_micros: int = 0
    reasons: list[Images] = field(default_factory=list)

    @property
    def exact_micros(self) -> int:
        """What the images cost, not rounded."""
        return self.images * self.unit_micros

    @property
    def rounding_micros(self) -> int:
        """What rounding to the cent adds; below zero: takes off."""
        return self.claimed_micros - self.exact_micros

    @property
    def carried_micros(self) -> int:
        """What earlier invoices billed too little; below zero: too much."""
        return sum(figure.micros for figure in self.carried)

    @property
    def target_micros(self) -> int:
        """What the invoice should bill."""
        return self.claimed_micros + self.carried_micros

    @property
    def billed_micros(self) -> int:
        """What it bills."""
        return self.target_micros + self.error_micros

    @property
    def is_charged(self) -> bool:
        """Whether the invoice charges or carries anything of it; else a correction undoes what the meter counted."""
        return bool(self.images or self.carried or self.error_micros)

    @property
    def is_corrected(self) -> bool:
        """Whether Stripe's own line is not all that the invoice bills."""
        return bool(self.reasons or self.correction_micros)


@dataclass(frozen=True)
class DayOfUse:
    """Images delivered on one UTC day with one key, by size: the same sizes in each row."""

    day: date
    key: str
    by_size: dict[str, int]
    credit_images: int

    @property
    def images(self) -> int:
        return sum(self.by_size.values())


@dataclass(frozen=True)
class Use:
    """What was delivered from `start` to before `end`, and who pays for it or where it is billed.

    The images of `days` add up to those of `paid`.
    """

    start: datetime
    end: datetime
    days: list[DayOfUse]
    paid: list[Images]
    earlier: int = 0
    credit_micros: int = 0

    @property
    def images(self) -> int:
        return sum(day.images for day in self.days)

    @property
    def credit_images(self) -> int:
        return sum(day.credit_images for day in self.days)

    @property
    def by_size(self) -> dict[str, int]:
        """The sums of all days."""
        sizes = self.days[0].by_size if self.days else {}
        return {size: sum(day.by_size[size] for day in self.days) for size in sizes}


@dataclass(frozen=True)
class InvoiceStatement:
    """One invoice from its images to what is still to be paid; or what the next one will say.

    `charges + other + tax + unexplained = total`, less `credits = due`, less `payments = open`.
    """

    organization: str
    invoice: str
    kind: str
    status: str
    period_start: datetime | None
    period_end: datetime | None
    finalized_at: datetime | None
    prices: list[PriceFigures]
    other_micros: int
    tax_micros: int
    total_micros: int
    credits: list[Figure]
    payments: list[Figure]
    afterwards: list[Figure]
    use: Use | None

    @property
    def is_final(self) -> bool:
        """Whether it never changes any more, payments aside."""
        return self.finalized_at is not None

    @property
    def is_corrected(self) -> bool:
        """Whether a line at Stripe needed a correction."""
        return any(price.is_corrected for price in self.prices)

    @property
    def charged(self) -> list[PriceFigures]:
        """The prices that it charges for, or makes an earlier invoice good for."""
        return [price for price in self.prices if price.is_charged]

    @property
    def images(self) -> int:
        return sum(price.images for price in self.prices)

    @property
    def charged_micros(self) -> int:
        """What the images are billed with."""
        return sum(price.billed_micros for price in self.prices)

    @property
    def unexplained_micros(self) -> int:
        """What the total at Stripe differs from all that we know of: zero, unless something is wrong."""
        return self.total_micros - self.charged_micros - self.other_micros - self.tax_micros

    @property
    def due_micros(self) -> int:
        """What was to be paid when it became final."""
        return self.total_micros - sum(figure.micros for figure in self.credits)

    @property
    def open_micros(self) -> int:
        """What is still to be paid."""
        return self.due_micros - sum(figure.micros for figure in self.payments)


@dataclass(frozen=True)
class AccountStatement:
    """What an organization owed before `start`, what happened until `end`, and what it owed then.

    `opening + charges - credits - payments = closing`; what credit paid, and what does not change the debt, is apart.
    """

    organization: str
    start: datetime
    end: datetime
    opening_micros: int
    charges: list[Figure]
    credits: list[Figure]
    payments: list[Figure]
    paid_by_credit: list[Figure]
    apart: list[Figure]

    @property
    def closing_micros(self) -> int:
        charges, credits_, payments = (
            sum(figure.micros for figure in part)
            for part in (self.charges, self.credits, self.payments)
        )
        return self.opening_micros + charges - credits_ - payments


def name_of(invoice: Invoice | None) -> str:
    """Its number, or its id at Stripe while it has none: its name in addresses; empty before Stripe has made it."""
    return (invoice.number or invoice.stripe_id or "") if invoice else ""


def pixels(size: str) -> tuple[int, str]:
    """How sizes are sorted, the smallest first: `1024x768` → 786432 pixels; what is no size comes before."""
    width, _, height = size.partition("x")
    known = width.isdecimal() and height.isdecimal()
    return int(width) * int(height) if known else 0, size


def by_size(price: Price) -> tuple[str, tuple[int, str], int]:
    """How prices are sorted: by model, size and version."""
    return price.model, pixels(price.size), price.version


def title_of(model: str) -> str:
    """The model as people know it."""
    return pricing.MODEL_TITLES.get(model, model)


def images_at(price: Price, images: int) -> str:
    """`320 images, 512x512 at $0.010`, for a line of text."""
    noun = "image" if images == 1 else "images"
    return f"{images:,} {noun}, {price.size} at {dollars(price.amount_micros)}"
