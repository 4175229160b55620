"""What may happen in the play: each move is one thing that a customer, staff, Stripe or a machine does."""

from collections.abc import Callable
from datetime import timedelta

from django.db import transaction

from billing.ledger import holds, pricing
from tests.billing.invoicing.play_world import NOWHERE, TASKS, World
from tests.cast import Person
from tests.payment import MODEL, buy

SIZES = ("512x512", "768x768", "1024x768", "1024x1024")
# Tenths of a cent, so that sums must be rounded.
PRICES = (10_000, 12_300, 15_500, 33_300, 47_700, 61_900, 90_100)
GOOD, BAD = "pm_card_visa", "pm_card_chargeCustomerFail"
METER = "/v1/billing/meter_events$"
PATHS = (
    *(METER, METER, METER, "/v1/invoices", "/v1/invoiceitems", "/finalize$", "/v1/subscriptions"),
    *("/v1/customers", "/v1/events", "/lines$", "/event_summaries", "/v1/charges", "/v1/refunds"),
    "/v1/",
)
FAULTS = (
    *("drop_before", "500_unstored", "500", "accept_then_drop", "accept_then_500", "429", "409"),
    *("accept_then_drop", "accept_then_500"),
)

Move = Callable[[World], None]
MOVES: list[tuple[int, Move]] = []


def often(weight: int) -> Callable[[Move], Move]:
    """A move that is drawn so often."""

    def keep(move: Move) -> Move:
        MOVES.append((weight, move))
        return move

    return keep


def make_one(world: World) -> None:
    """One move, by chance."""
    [(_, move)] = world.dice.choices(MOVES, [weight for weight, _ in MOVES])
    move(world)
    world.know_customers()


def someone(world: World) -> Person:
    return world.dice.choice(world.people)


# --- images ---------------------------------------------------------------------------------------


@often(26)
def buy_images(world: World) -> None:
    person, size, count = someone(world), world.dice.choice(SIZES), world.dice.randint(1, 7)
    done = 0
    try:
        for _ in range(count):
            buy(person, size)
            done += 1
    except holds.InsufficientQuota as refusal:
        world.tell(f"… {type(refusal).__name__}")
    world.tell(f"{person.organization.name} buys {done} × {size}")


@often(4)
def begin_an_image(world: World) -> None:
    person = someone(world)
    price = pricing.price_of(model=MODEL, size=world.dice.choice(SIZES))
    try:
        with transaction.atomic():
            hold = holds.place(organization=person.organization, api_key=person.key, price=price)
    except holds.InsufficientQuota:
        return
    world.in_flight.append(hold)
    world.tell(f"{person.organization.name} begins an image")


@often(4)
def end_an_image(world: World) -> None:
    if not world.in_flight:
        return
    hold = world.in_flight.pop(0)
    delivered = world.chance(80)
    with transaction.atomic():
        (holds.capture if delivered else holds.release)(hold)
    world.tell(f"an image of {hold.organization.name} {'is delivered' if delivered else 'fails'}")


@often(3)
def change_price(world: World) -> None:
    size, micros = world.dice.choice(SIZES), world.dice.choice(PRICES)
    pricing.set_price(model=MODEL, size=size, amount_micros=micros)
    world.tell(f"{size} costs {micros}")
    if world.chance(70):
        world.run("keep")


# --- time and tasks -------------------------------------------------------------------------------


@often(12)
def some_minutes(world: World) -> None:
    minutes = world.dice.choice([1, 3, 8, 20, 45, 70])
    world.tell(f"{minutes} minutes pass")
    world.advance(timedelta(minutes=minutes))


@often(8)
def report(world: World) -> None:
    world.tell("sealed and reported")
    world.run("seal")
    world.run("send")


@often(8)
def some_tasks(world: World) -> None:
    for name in world.dice.sample(sorted(TASKS), world.dice.randint(1, 4)):
        world.tell(f"task {name}")
        world.run(name)


@often(18)
def days_at_work(world: World) -> None:
    days = world.dice.choice([9, 16, 31])
    world.tell(f"{days} days pass at work")

    def between() -> None:
        buy_images(world)
        if world.chance(30):
            world.dice.choice([a_fault, events_are_thrown_away])(world)

    world.live(timedelta(days=days), between)
    if world.chance(60):
        faults_end(world)


@often(4)
def days_asleep(world: World) -> None:
    days = world.dice.choice([0.2, 1, 4, 9])
    world.tell(f"{days} days pass, and no process of ours runs")
    world.advance(timedelta(days=days))


# --- between Stripe and us ------------------------------------------------------------------------


@often(10)
def webhooks_arrive(world: World) -> None:
    world.tell("webhooks")
    world.deliver()
    world.run("inbox")


@often(3)
def stripe_is_away(world: World) -> None:
    """Over any length of time, in which Stripe goes on by itself."""
    world.settings.STRIPE_API_BASE = NOWHERE
    days = world.dice.choice([0.01, 0.1, 1, 6, 12])
    world.tell(f"Stripe cannot be reached for {days} days")
    for _ in range(3):
        world.advance(timedelta(days=days / 3))
        buy_images(world)
        for name in world.dice.sample(sorted(TASKS), 4):
            world.run(name)
    world.settings.STRIPE_API_BASE = world.sandbox.base_url


@often(9)
def a_fault(world: World) -> None:
    path, kind = world.dice.choice(PATHS), world.dice.choice(FAULTS)
    times = world.dice.randint(1, 3)
    world.tell(f"fault {kind} at {path}, {times} times")
    world.sandbox.fault(kind, path=path, times=times)


@often(4)
def events_are_thrown_away(world: World) -> None:
    kind = world.dice.choice(["late_rejection", "late_rejection", "400"])
    times = world.dice.randint(1, 2)
    world.tell(f"{kind} of {times} meter events")
    code = "no_meter" if kind == "late_rejection" else ""
    world.sandbox.fault(kind, path=METER, method="POST", times=times, code=code)


@often(1)
def the_key_is_refused(world: World) -> None:
    world.tell("the key is refused once")
    world.sandbox.fault("401", times=1)


@often(2)
def meters_lag(world: World) -> None:
    seconds = world.dice.choice([0, 120, 1200])
    world.tell(f"summaries lag {seconds} s")
    world.sandbox.settings(summary_lag_seconds=seconds)


@often(4)
def faults_end(world: World) -> None:
    world.tell("faults end")
    world.sandbox.clear_faults()
