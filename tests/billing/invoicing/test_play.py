"""A random play over months: whatever happens, each image is billed once, and the ledger says what Stripe says.

`PLAY_SEEDS=40-99 pytest tests/billing/invoicing/test_play.py` plays these seeds; a failure prints the story of its
seed, which `PLAY_SEEDS` alone repeats.
"""

import os
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from billing import missed_events
from billing.invoicing import settling
from billing.models import Invoice, Subscription
from billing.reporting import sending
from tests.billing.invoicing import play_customers, play_moves, play_sums
from tests.billing.invoicing.play_world import World
from tests.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.money

MOVES = 60


def seeds() -> list[int]:
    """A few; `PLAY_SEEDS` names others, as 7 or 40-99."""
    first, _, last = os.environ.get("PLAY_SEEDS", "1-8").partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.fixture
def world(
    db: None,
    stripe_here: StripeSandbox,
    settings: Any,
    one_try: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """An installation in which nobody has subscribed yet."""
    # As many looks as there are hours would take half of the time.
    monkeypatch.setattr(missed_events, "SLICE", timedelta(days=4))
    with time_machine.travel(datetime.now(UTC), tick=True) as clock:
        yield World(random.Random(), stripe_here, settings, clock, monkeypatch)


@pytest.mark.parametrize("seed", seeds())
def test_whatever_happens_each_image_is_billed_once(world: World, seed: int) -> None:
    world.dice.seed(seed)
    random.seed(seed)
    world.begin(organizations=2 + seed % 2)
    try:
        for person in world.people[:2]:
            play_customers.subscribe(world, person)
        for _ in range(MOVES):
            play_moves.make_one(world)
            play_sums.check_new_invoices(world)
        heal(world)
        play_sums.check_end(world)
    except BaseException:
        sys.stdout.write("\n".join([f"\nThe story of seed {seed}:", *world.story, ""]))
        raise


def heal(world: World) -> None:
    """Everything works again, and two months pass in which nobody does anything."""
    world.tell("everything is healed")
    world.rough = False
    world.sandbox.clear_faults()
    world.sandbox.settings(summary_lag_seconds=0)
    sending.resume()
    while world.in_flight:
        play_moves.end_an_image(world)
    for dispute in world.documents("dispute"):
        if dispute["status"] == "needs_response":
            world.sandbox.close_dispute(dispute["id"], "won")
    world.live(timedelta(days=2))
    for person in world.people:
        row = world.row(person)
        if row and row.status == Subscription.Status.PAUSED:
            with world.refusals():
                world.sandbox.resume(str(row.subscription_id))
        play_customers.change_card(world, person, play_moves.GOOD)
        if row and row.status in {"past_due", "unpaid"}:
            for invoice in world.at_stripe("invoice", person, "open"):
                with world.refusals():
                    world.stripe.invoices.pay(invoice["id"])
    for _ in range(2):
        world.live(timedelta(days=31))
        finalize_by_hand(world)
    world.live(timedelta(days=1))
    assert not settling.work()


def finalize_by_hand(world: World) -> None:
    """Staff do what Stripe leaves to them: drafts of unpaid subscriptions."""
    for invoice in Invoice.objects.drafts().filter(held=False).exclude(stripe_id=None):
        world.tell(f"staff make {invoice} final")
        with world.refusals():
            world.stripe.invoices.finalize_invoice(str(invoice.stripe_id))
