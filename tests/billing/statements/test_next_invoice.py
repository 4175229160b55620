"""What the next invoice will say is exact, whatever was claimed, written off or is in no batch yet."""

import random
from collections import Counter
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from billing.models import Hold, Invoice, UsageBatch
from billing.statements import next_invoice
from billing.statements.figures import InvoiceStatement
from tests import statements as made
from tests.cast import Person
from tests.pages.paying import subscribed
from tests.statements import APRIL, MARCH, Account, Kind

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
SIZES = ("512x512", "1024x1024")


def use(alice: Person, rng: random.Random, start: datetime, end: datetime) -> None:
    """Some images of both sizes, most of them in batches."""
    for _ in range(rng.randint(4, 10)):
        at = start + (end - start) * rng.random() * 0.999
        holds = made.used(alice, rng.choice(SIZES), rng.randint(1, 4), at, every=SECOND / 100)
        if rng.random() < 0.8:
            made.batch(holds)


def unclaimed() -> list[UsageBatch]:
    return list(UsageBatch.objects.unclaimed().order_by("last_captured_at"))


def claim(alice: Person, rng: random.Random, of: Invoice, until: datetime) -> None:
    """As a claim does; now and then a batch is left."""
    for size in SIZES:
        mine = [
            batch
            for batch in unclaimed()
            if batch.price.size == size and batch.last_captured_at < until and rng.random() < 0.9
        ]
        if mine:
            made.claim(of, mine)


def by_counting(end: datetime) -> Counter[str]:
    """Image by image."""
    batches = UsageBatch.objects.unclaimed().values("pk")
    holds = Hold.objects.filter(payer=Hold.Payer.SUBSCRIPTION, ended_at__lt=end)
    open_use = holds.filter(usage_batch=None) | holds.filter(usage_batch__in=batches)
    return Counter(open_use.values_list("price__size", flat=True))


def in_statement(found: InvoiceStatement | None) -> Counter[str]:
    assert found
    assert found.use
    parts = sum(part.images for part in found.use.paid)
    assert parts == found.use.images
    return Counter({price.size: price.images for price in found.prices if price.images})


@pytest.mark.parametrize("seed", range(12))
def test_it_bills_what_no_invoice_does(alice: Person, seed: int) -> None:
    rng = random.Random(seed)
    now = MARCH + 20 * DAY
    subscribed(alice, period_start=MARCH, period_end=APRIL)
    use(alice, rng, MARCH - 28 * DAY, MARCH)
    if rng.random() < 0.8:
        february = made.invoice(alice, "ECO-1", period_start=MARCH - 28 * DAY, period_end=MARCH)
        claim(alice, rng, february, MARCH)
    use(alice, rng, MARCH, MARCH + 10 * DAY)
    claimable = unclaimed()
    if claimable and rng.random() < 0.8:
        last = claimable[-1].last_captured_at
        interim = made.invoice(
            alice,
            "ECO-2",
            kind=Invoice.Kind.INTERIM,
            period_start=claimable[0].first_captured_at,
            period_end=last,
        )
        claim(alice, rng, interim, last + SECOND)
    use(alice, rng, MARCH + 10 * DAY, now)
    if (left := unclaimed()) and rng.random() < 0.5:
        lost = left[-1]
        lost.write_off = made.post(
            made.invoice(alice, "ECO-3", kind=Invoice.Kind.MANUAL),
            *(Kind.WRITE_OFF, Account.LOSSES, Account.RECEIVABLE, 1),
        )
        lost.save()
    assert in_statement(next_invoice.so_far(alice.organization)) == by_counting(timezone.now())


@pytest.mark.parametrize("seed", range(6))
def test_a_draft_has_what_it_claimed_and_what_is_left_for_it(alice: Person, seed: int) -> None:
    rng = random.Random(seed)
    now = APRIL + DAY
    subscribed(alice, period_start=APRIL, period_end=APRIL + 30 * DAY)
    use(alice, rng, MARCH - DAY, APRIL)
    draft = made.invoice(alice, "", status="draft", stripe_id="in_draft")
    expected = by_counting(APRIL)
    if rng.random() < 0.5:
        claim(alice, rng, draft, APRIL)
    use(alice, rng, APRIL, now)
    assert in_statement(next_invoice.of_draft(draft)) == expected
    later = next_invoice.so_far(alice.organization)
    assert in_statement(later) == by_counting(timezone.now()) - by_counting(APRIL)
