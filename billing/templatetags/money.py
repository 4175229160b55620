"""Micro-dollars as people read them: `{% load money %}`, `{{ micros|dollars }}`."""

from decimal import Decimal

from django import template

register = template.Library()

MICROS_PER_DOLLAR = 1_000_000
TENTH_OF_A_CENT = 1_000
CENT = 10_000


@register.filter
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


@register.filter
def cents(amount: int | None) -> str:
    """Stripe's unit: 1234 → `$12.34`."""
    return dollars(None if amount is None else amount * CENT, 2)


def _places(micros: int) -> int:
    """The fewest decimals that show the amount exactly, and at least what its magnitude calls for."""
    if not micros:
        return 2
    if micros % TENTH_OF_A_CENT:
        return 6
    return 2 if micros >= MICROS_PER_DOLLAR and not micros % CENT else 3
