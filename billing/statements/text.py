"""Statements as plain text, for support staff."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from billing.amounts import dollars, exact_dollars
from billing.statements.figures import (
    AccountStatement,
    Figure,
    InvoiceStatement,
    PriceFigures,
    Use,
)

WIDTH = 88  # characters
AMOUNT = 14


def of_invoice(statement: InvoiceStatement) -> Iterator[str]:
    """The lines of an invoice's statement."""
    yield f"{statement.organization}: invoice {statement.invoice or 'to come'} ({statement.status})"
    if statement.period_start and statement.period_end:
        yield f"Period: {_moment(statement.period_start)} to {_moment(statement.period_end)}"
    yield ""
    for price in statement.prices:
        yield from _price(price)
    yield _row("Images", statement.charged_micros)
    for words, micros in (
        ("Other lines", statement.other_micros),
        ("Tax", statement.tax_micros),
        ("Not explained by our books", statement.unexplained_micros),
    ):
        if micros:
            yield _row(words, micros)
    yield _row("Total", statement.total_micros)
    yield from _rows(statement.credits, sign=-1)
    yield _row("To be paid", statement.due_micros)
    yield from _rows(statement.payments, sign=-1)
    yield _row("Open", statement.open_micros)
    if statement.afterwards:
        yield from ("", "Afterwards:")
        yield from _rows(statement.afterwards)
    if statement.use:
        yield from _use(statement.use)


def _price(price: PriceFigures) -> Iterator[str]:
    count = f"{price.images:,} × {price.size} ({price.model}) at {exact_dollars(price.unit_micros)}"
    yield _row(count, price.exact_micros, exact=True)
    if price.rounding_micros:
        yield _row("  rounding to the cent", price.rounding_micros, exact=True)
    for figure in price.carried:
        yield _row(f"  {_words(figure)}", figure.micros)
    if price.error_micros:
        much = "too much" if price.error_micros > 0 else "too little"
        where = f"made good on {price.carried_to}" if price.carried_to else "not made good yet"
        yield _row(f"  billed {much}, {where}", price.error_micros)
    if price.stripe_images or price.stripe_micros or price.is_corrected:
        yield f"    Stripe's meter: {price.stripe_images:,} images, {dollars(price.stripe_micros, 2)}"
        yield f"    our correction: {dollars(price.correction_micros, 2)}"
    for reason in price.reasons:
        yield f"      {reason.images:+,} {reason.words}{_of(reason.invoice)}"


def _use(use: Use) -> Iterator[str]:
    yield ""
    yield f"Images delivered from {_moment(use.start)} to {_moment(use.end)}: {use.images:,}"
    for part in use.paid:
        yield f"  {part.images:,} {part.words}{_of(part.invoice)}"
    if use.earlier:
        yield f"  and {use.earlier:,} of earlier periods on this invoice"
    for day in use.days:
        sizes = ", ".join(f"{images:,} × {size}" for size, images in day.by_size.items() if images)
        yield f"  {day.day}  {day.key}: {sizes}"


def of_account(statement: AccountStatement) -> Iterator[str]:
    """The lines of a statement of account."""
    yield f"{statement.organization}: account from {_moment(statement.start)} to {_moment(statement.end)}"
    yield ""
    yield _row("Owed before", statement.opening_micros, exact=True)
    for head, part, sign in (
        ("Charges", statement.charges, 1),
        ("Credits", statement.credits, -1),
        ("Payments", statement.payments, -1),
    ):
        yield _row(head, sign * sum(figure.micros for figure in part), exact=True)
        yield from _rows(part, sign=sign, exact=True, indent="    ")
    yield _row("Owed after", statement.closing_micros, exact=True)
    for head, part in (
        ("Paid by credit, not owed", statement.paid_by_credit),
        ("Without effect on what is owed", statement.apart),
    ):
        if part:
            yield from ("", f"{head}:")
            yield from _rows(part, exact=True)


def _rows(
    figures: list[Figure], *, sign: int = 1, exact: bool = False, indent: str = "  "
) -> Iterator[str]:
    for figure in figures:
        at = f"{figure.at.astimezone(UTC):%Y-%m-%d}  " if figure.at else ""
        yield _row(f"{indent}{at}{_words(figure)}", sign * figure.micros, exact=exact)


def _row(words: str, micros: int, *, exact: bool = False) -> str:
    amount = exact_dollars(micros) if exact else dollars(micros, 2)
    return f"{words:<{WIDTH - AMOUNT}}{amount:>{AMOUNT}}"


def _words(figure: Figure) -> str:
    return f"{figure.words}{_of(figure.invoice)}"


def _of(invoice: str) -> str:
    return f" (invoice {invoice})" if invoice else ""


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
