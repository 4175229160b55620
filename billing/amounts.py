"""Amounts of money: micro-dollars, Stripe's cents, and how people read both."""

from decimal import Decimal

MICROS_PER_DOLLAR = 1_000_000
MICROS_PER_CENT = 10_000
MICROS_PER_TENTH_OF_A_CENT = 1_000


def dollars(micros: int | None, places: int | None = None) -> str:
    """20000 → `$0.020`, 5000000 → `$5.00`; never rounded unless the number of places is given.

    Prices need a tenth of a cent, so amounts below a dollar always show it.
    """
    if micros is None:
        return "–"
    if places is None:
        places = _places(abs(micros))
    amount = Decimal(abs(micros)) / MICROS_PER_DOLLAR
    return f"{'-' if micros < 0 else ''}${amount:,.{places}f}"


def exact_dollars(micros: int) -> str:
    """15000000 → `$15.000`, 12345 → `$0.012345`: a tenth of a cent at least, and never rounded."""
    return dollars(micros, 6 if micros % MICROS_PER_TENTH_OF_A_CENT else 3)


def dollars_of_cents(cents: int | None) -> str:
    """1234 → `$12.34`; Stripe's amounts are whole cents."""
    return dollars(None if cents is None else cents * MICROS_PER_CENT, 2)


def cents_of(micros: int) -> Decimal:
    """15000 → 1.5 cents, exactly: the price of one image may have decimals."""
    return Decimal(micros) / MICROS_PER_CENT


def _places(micros: int) -> int:
    """The fewest decimals that show the amount exactly, and at least what its magnitude calls for."""
    if not micros:
        return 2
    if micros % MICROS_PER_TENTH_OF_A_CENT:
        return 6
    return 2 if micros >= MICROS_PER_DOLLAR and not micros % MICROS_PER_CENT else 3
