"""The catalog at Stripe, made by the real verb once in a process: that takes dozens of calls.

Tests with a subscriber begin where an installation stands after `manage.py stripe_sync`.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from billing.models import MeteredPrice, Price, StripeObject
from billing.subscriptions import catalog
from tests.stripe_sandbox import StripeSandbox

KINDS = ("product", "billing.meter", "price", "billing_portal.configuration")
COLUMNS = "kind, id, created, body"
MARKS = ", ".join("?" * len(KINDS))
READ = f"SELECT {COLUMNS} FROM documents WHERE kind IN ({MARKS}) ORDER BY number"  # noqa: S608 - names of ours
WRITE = f"INSERT INTO documents ({COLUMNS}) VALUES (?, ?, ?, ?)"  # noqa: S608 - the same


@dataclass(frozen=True)
class Catalog:
    """Objects at Stripe, and our rows that name them, for these prices."""

    at_stripe: list[tuple[Any, ...]]
    prices: list[tuple[Any, ...]]
    metered: list[Any]
    objects: list[Any]


_made: list[Catalog] = []


def prices() -> list[tuple[Any, ...]]:
    """Those that are sold, in the order of their metered prices."""
    return list(
        Price.objects.order_by("pk").values_list("model", "size", "version", "amount_micros")
    )


def stock(sandbox: StripeSandbox) -> None:
    """Put the catalog there, and here; nothing where a test has begun one of its own."""
    if MeteredPrice.objects.exists() or StripeObject.objects.exists():
        return
    with closing(sqlite3.connect(sandbox.folder / "stripe-sandbox.sqlite3")) as state:
        if state.execute(READ, KINDS).fetchall():
            return
        if not _made:
            catalog.complete()
            made = remember(state.execute(READ, KINDS).fetchall())
            if len(made.metered) == len(made.prices):
                _made.append(made)
        elif prices() == _made[0].prices:
            with state:
                state.executemany(WRITE, _made[0].at_stripe)
            write_rows(_made[0])


def remember(at_stripe: list[tuple[Any, ...]]) -> Catalog:
    """The catalog as it was just made."""
    metered = MeteredPrice.objects.order_by("price")
    return Catalog(
        at_stripe,
        prices(),
        list(metered.values("event_name", "meter_id", "stripe_price_id")),
        list(StripeObject.objects.values("name", "stripe_id")),
    )


def write_rows(known: Catalog) -> None:
    """Our rows that name what is at Stripe."""
    sold = zip(Price.objects.order_by("pk"), known.metered, strict=True)
    MeteredPrice.objects.bulk_create(MeteredPrice(price=row, **values) for row, values in sold)
    StripeObject.objects.bulk_create(StripeObject(**values) for values in known.objects)
