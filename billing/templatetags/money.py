"""Amounts as templates print them: `{% load money %}`, `{{ micros|dollars }}`, `{{ amount|cents }}`."""

from django import template

from billing import amounts

register = template.Library()
register.filter("dollars", amounts.dollars)
register.filter("cents", amounts.dollars_of_cents)
register.filter("exact", amounts.exact_dollars)


@register.filter
def signed(micros: int, places: int | None = None) -> str:
    """20000 → `+$0.020`: what is added, or with a minus sign taken off."""
    sign = "\N{MINUS SIGN}" if micros < 0 else "+"
    size = abs(micros)
    return (
        f"{sign}{amounts.exact_dollars(size) if places is None else amounts.dollars(size, places)}"
    )


@register.filter
def counted(images: int) -> str:
    """20 → `+20`: images that are counted besides, or with a minus sign not."""
    return f"{images:+,}".replace("-", "\N{MINUS SIGN}")
