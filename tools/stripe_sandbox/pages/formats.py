"""How the pages write money and moments."""

from datetime import UTC, datetime
from decimal import Decimal

from django import template

register = template.Library()


@register.filter
def money(cents: int) -> str:
    """`$1,234.50`; a minus stands before the sign."""
    return f"{'−' if cents < 0 else ''}${abs(cents) / 100:,.2f}"  # noqa: RUF001 - a true minus


@register.filter
def unit(cents: str) -> str:
    """The price of one, with as many places as it has: `$0.02`, `$0.0125`."""
    dollars = Decimal(cents) / 100
    places = max(2, -int(dollars.normalize().as_tuple().exponent))
    return f"${dollars:,.{places}f}"


@register.filter
def moment(seconds: int) -> str:
    """`26 Nov 2026, 10:15:07 UTC`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%-d %b %Y, %H:%M:%S} UTC"


@register.filter
def day(seconds: int) -> str:
    """`26 Nov 2026`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%-d %b %Y}"


@register.filter
def words(text: str) -> str:
    """`past_due` as people write it."""
    return text.replace("_", " ")
