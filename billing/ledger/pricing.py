"""Prices: the one in force, and the ones that a new installation begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone

from billing.models import Price

if TYPE_CHECKING:
    from datetime import datetime

DEFAULT_MODEL = "flux-1-schnell"
# How invoices name the models: id → title. The images app fills it from its catalog.
MODEL_TITLES: dict[str, str] = {}
DEFAULT_PRICES_MICROS = {
    "512x512": 10_000,
    "768x768": 15_000,
    "1024x768": 18_000,
    "768x1024": 18_000,
    "1024x1024": 20_000,
}


class NoPrice(LookupError):
    """A model and size that is offered has no price in force: a mistake of the operator's."""


def price_of(*, model: str, size: str, at: datetime | None = None) -> Price:
    """The price in force at that moment (default: now).

    Raises:
        NoPrice: none was ever set.
    """
    price: Price | None = (
        Price.objects.filter(model=model, size=size, effective_from__lte=at or timezone.now())
        .order_by("-version")
        .first()
    )
    if price is None:
        raise NoPrice(f"No price is in force for {model} at {size}.")
    return price


def prices_in_force(model: str) -> dict[str, Price]:
    """Size → the price in force now."""
    prices = Price.objects.filter(model=model, effective_from__lte=timezone.now())
    return {price.size: price for price in prices.order_by("version")}


def least_price_micros() -> int:
    """What the cheapest image of the default model costs now; 0 where there is no price."""
    prices = prices_in_force(DEFAULT_MODEL).values()
    return min((price.amount_micros for price in prices), default=0)


def set_price(
    *, model: str, size: str, amount_micros: int, effective_from: datetime | None = None
) -> Price:
    """Add the next version; the earlier ones stay, for the holds and invoices that name them."""
    latest = Price.objects.filter(model=model, size=size).order_by("-version").first()
    return Price.objects.create(
        model=model,
        size=size,
        version=latest.version + 1 if latest else 1,
        amount_micros=amount_micros,
        effective_from=effective_from or timezone.now(),
    )


def set_default_prices() -> None:
    """Version 1 of each default price, where a size has none."""
    for size, amount_micros in DEFAULT_PRICES_MICROS.items():
        if not Price.objects.filter(model=DEFAULT_MODEL, size=size).exists():
            set_price(model=DEFAULT_MODEL, size=size, amount_micros=amount_micros)
