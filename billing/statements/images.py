"""Each image of an invoice as a row, for a file: read in parts, so that no query and no connection waits for a reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from billing.models import Hold, Invoice, LedgerEntry, UsageBatch
from billing.statements.claims import span_of
from billing.statements.use import PLAYGROUND

# Images of one query.
AT_ONCE = 5_000
COLUMNS = (
    *("generation__pk", "ended_at", "api_key", "api_key__name", "api_key__prefix"),
    *("api_key__last_four", "price__size", "amount_micros", "payer", "pk"),
)


@dataclass(frozen=True)
class BilledImage:
    """One delivered image; `key_hint` is empty for the playground. What credit paid is $0 on the invoice."""

    id: str
    at: datetime
    key: str
    key_hint: str
    size: str
    price_micros: int
    payer: str

    @property
    def invoiced_micros(self) -> int:
        return self.price_micros if self.payer == Hold.Payer.SUBSCRIPTION else 0


def images_of(invoice: Invoice) -> Iterator[BilledImage]:
    """The images that the invoice bills, in the order of time, and then those of its period that credit paid."""
    for batches in _parts(invoice):
        yield from _read(Hold.objects.filter(usage_batch__in=batches))
    if span := span_of(invoice):
        yield from _on_credit(invoice, *span)


def _parts(invoice: Invoice) -> Iterator[list[UUID]]:
    """The invoice's batches, in parts of about `AT_ONCE` images."""
    part: list[UUID] = []
    images = 0
    batches = UsageBatch.objects.filter(invoice_line__invoice=invoice)
    # The ids at once, and no open query while somebody reads slowly: a month has as many batches as minutes.
    for pk, quantity in list(
        batches.order_by("last_captured_at", "pk").values_list("pk", "quantity")
    ):
        if part and images + quantity > AT_ONCE:
            yield part
            part, images = [], 0
        part.append(pk)
        images += quantity
    if part:
        yield part


def _on_credit(invoice: Invoice, start: datetime, end: datetime) -> Iterator[BilledImage]:
    """What credit paid in the invoice's period, by the ledger's index of time."""
    entries = (
        LedgerEntry.objects.filter(
            organization=invoice.organization_id,
            kind=LedgerEntry.Kind.CAPTURE,
            debit=LedgerEntry.Account.CUSTOMER_CREDIT,
            created_at__lt=end,
        )
        .order_by("created_at", "pk")
        .values_list("created_at", "pk", "hold")
    )
    after = Q(created_at__gte=start)
    while part := list(entries.filter(after)[:AT_ONCE]):
        yield from _read(Hold.objects.filter(pk__in=[hold for _, _, hold in part]))
        at, pk, _ = part[-1]
        after = Q(created_at__gt=at) | Q(created_at=at, pk__gt=pk)


def _read(holds: QuerySet[Hold]) -> list[BilledImage]:
    return [_image(row) for row in holds.order_by("ended_at", "pk").values_list(*COLUMNS)]


def _image(row: tuple[Any, ...]) -> BilledImage:
    generation, at, key, name, prefix, last_four, size, micros, payer, hold = row
    return BilledImage(
        id=generation or f"hold {hold}",
        at=at,
        key=name if key else PLAYGROUND,
        key_hint=f"{prefix}…{last_four}" if key else "",
        size=size,
        price_micros=micros,
        payer=payer,
    )
