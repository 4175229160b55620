"""What may happen in the play: each move is one thing that a customer, staff, Stripe or a machine does."""

from collections.abc import Callable
from datetime import timedelta

from django.db import transaction

from billing import refunds
from billing.gateway import checkout as hosted_checkout
from billing.gateway.errors import GatewayError
from billing.ledger import holds, pricing
from billing.models import Hold, Subscription
from billing.subscriptions import checkout, freezing, items
from tests.billing.invoicing.play_world import NOWHERE, TASKS, World
from tests.cast import Person
from tests.payment import MODEL, buy
from tests.stripe_catalog import stock

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


# --- subscriptions --------------------------------------------------------------------------------


def subscribe(world: World, person: Person, *, twice: bool = False, card: str = GOOD) -> None:
    """By our page and Stripe's; `twice`: a second tab is completed too."""
    with world.refusals():
        try:
            stock(world.sandbox)
            checkout.begin(organization=person.organization, email=person.user.email)
            row = Subscription.objects.get(pk=person.organization.pk)
            pages = [row.checkout_id]
            if twice:
                second = hosted_checkout.begin(
                    customer_id=str(row.customer_id),
                    reference=str(row.reference),
                    price_ids=[each.stripe_price_id for each in items.prices_on_offer()],
                    success_url="https://example.com/",
                    cancel_url="https://example.com/",
                )
                pages.append(second.id)
        except (GatewayError, checkout.AlreadySubscribed) as error:
            world.tell(f"… {type(error).__name__} {error}")
            return
        for page in pages:
            world.sandbox.complete_checkout(page, card=card)


@often(18)
def someone_subscribes(world: World) -> None:
    people = [each for each in world.people if not ((row := world.row(each)) and row.is_live)]
    if not people:
        return
    person, twice = world.dice.choice(people), world.chance(20)
    card = BAD if world.chance(10) else GOOD
    world.tell(f"{person.organization.name} subscribes {'twice' if twice else ''} with {card}")
    subscribe(world, person, twice=twice, card=card)
    if world.chance(80):
        world.deliver()
        world.run("inbox")


def subscription_of(world: World, person: Person) -> str:
    row = world.row(person)
    return str(row.subscription_id) if row else ""


@often(3)
def cancel_now(world: World) -> None:
    person, invoiced = someone(world), world.chance(50)
    world.tell(f"{person.organization.name} is canceled, {'with' if invoiced else 'no'} invoice")
    with world.refusals():
        world.stripe.subscriptions.cancel(
            subscription_of(world, person), {"invoice_now": True} if invoiced else {}
        )


@often(3)
def cancel_at_period_end(world: World) -> None:
    """As the portal does, or undoes."""
    person, wanted = someone(world), world.chance(75)
    world.tell(f"{person.organization.name} ends with its period: {wanted}")
    with world.refusals():
        world.stripe.subscriptions.update(
            subscription_of(world, person), {"cancel_at_period_end": wanted}
        )


@often(3)
def pause_or_resume(world: World) -> None:
    person, verb = someone(world), world.dice.choice(["pause", "resume", "resume"])
    world.tell(f"{verb} {person.organization.name}")
    with world.refusals():
        getattr(world.sandbox, verb)(subscription_of(world, person))


@often(2)
def end_period_early(world: World) -> None:
    person = someone(world)
    world.tell(f"the period of {person.organization.name} ends early")
    with world.refusals():
        world.sandbox.end_period(subscription_of(world, person))


@often(2)
def delete_customer(world: World) -> None:
    person = someone(world)
    row = world.row(person)
    if row and row.customer_id:
        world.tell(f"the customer of {person.organization.name} is deleted")
        with world.refusals():
            world.stripe.customers.delete(row.customer_id)


@often(4)
def staff_set_ceiling(world: World) -> None:
    person, micros = someone(world), world.dice.choice([None, 3_000_000, 6_000_000])
    world.tell(f"ceiling of {person.organization.name}: {micros}")
    Subscription.objects.filter(pk=person.organization.pk).update(unpaid_limit_micros=micros)


# --- money ----------------------------------------------------------------------------------------


def change_card(world: World, person: Person, token: str) -> None:
    row = world.row(person)
    if not row or not row.customer_id or not row.subscription_id:
        return
    with world.refusals():
        card = world.stripe.payment_methods.attach(token, {"customer": row.customer_id})
        world.stripe.subscriptions.update(row.subscription_id, {"default_payment_method": card.id})


@often(4)
def a_card_changes(world: World) -> None:
    person, token = someone(world), world.dice.choice([GOOD, BAD])
    world.tell(f"{person.organization.name} now has {token}")
    change_card(world, person, token)


@often(5)
def an_open_invoice(world: World) -> None:
    """It is paid, tried again, voided, marked as uncollectible, or given up with its subscription."""
    person = someone(world)
    found = world.at_stripe("invoice", person, "open", "uncollectible")
    if not found:
        return
    invoice = world.dice.choice(found)["id"]
    fate = world.dice.choice(
        ["pay", "pay", "elsewhere", "retry", "void", "uncollectible", "unpaid"]
    )
    world.tell(f"{invoice} of {person.organization.name}: {fate}")
    with world.refusals():
        if fate == "pay":
            world.stripe.invoices.pay(invoice)
        elif fate == "elsewhere":
            world.stripe.invoices.pay(invoice, {"paid_out_of_band": True})
        elif fate == "retry":
            world.sandbox.retry_payment(invoice)
        elif fate == "void":
            world.stripe.invoices.void_invoice(invoice)
        elif fate == "uncollectible":
            world.stripe.invoices.mark_uncollectible(invoice)
        else:
            world.sandbox.give_up(subscription_of(world, person))


@often(3)
def a_draft_by_hand(world: World) -> None:
    """Staff make a draft final, or delete one of ours, in the dashboard."""
    person = someone(world)
    found = world.at_stripe("invoice", person, "draft")
    if not found:
        return
    invoice, verb = world.dice.choice(found)["id"], world.dice.choice(["finalize", "delete"])
    world.tell(f"draft {invoice} of {person.organization.name}: {verb} by hand")
    with world.refusals():
        if verb == "finalize":
            world.stripe.invoices.finalize_invoice(invoice)
        else:
            world.stripe.invoices.delete(invoice)


@often(1)
def an_invoice_by_hand(world: World) -> None:
    person = someone(world)
    row = world.row(person)
    if not row or not row.customer_id:
        return
    cents, alone = world.dice.choice([120, -45, 700]), world.chance(50)
    world.tell(f"{cents} cents by hand for {person.organization.name}, alone: {alone}")
    item = {"customer": row.customer_id, "currency": "usd", "amount": cents}
    with world.refusals():
        if alone:
            draft = world.stripe.invoices.create({"customer": row.customer_id})
            world.stripe.invoice_items.create({**item, "invoice": draft.id})
            world.stripe.invoices.finalize_invoice(draft.id)
        else:
            world.stripe.invoice_items.create(item)


@often(4)
def refund(world: World) -> None:
    person = someone(world)
    delivered = Hold.objects.filter(organization=person.organization, state="captured")
    image = delivered.order_by("?").first() if world.chance(50) else None
    if image:
        # By chance of ours, not the database's.
        image = world.dice.choice(list(delivered.order_by("pk")))
    micros = world.dice.choice([4_000, 61_000, 700_000])
    world.tell(f"refund to {person.organization.name}: {'an image' if image else micros}")
    try:
        if image:
            refunds.refund_image(hold=image, reason="bad", by="play")
        else:
            refunds.refund_amount(
                organization=person.organization, amount_micros=micros, reason="bad", by="play"
            )
    except refunds.NotRefundable as why:
        world.tell(f"… {why}")


@often(3)
def a_bank(world: World) -> None:
    """A dispute is opened or decided, or staff refund a charge in the dashboard."""
    verb = world.dice.choice(["open", "close", "close", "refund"])
    charges = [each for each in world.documents("charge") if each["status"] == "succeeded"]
    disputes = [each for each in world.documents("dispute") if each["status"] == "needs_response"]
    with world.refusals():
        if verb == "close" and disputes:
            status = world.dice.choice(["won", "lost"])
            world.tell(f"a dispute is {status}")
            world.sandbox.close_dispute(world.dice.choice(disputes)["id"], status)
        elif verb == "open" and charges:
            world.tell("a dispute is opened")
            world.sandbox.dispute(world.dice.choice(charges)["id"])
        elif verb == "refund" and charges:
            charge = world.dice.choice(charges)
            cents = world.dice.randint(1, charge["amount"])
            world.tell(f"{cents} cents of {charge['id']} are refunded by hand")
            world.stripe.refunds.create({"charge": charge["id"], "amount": cents})


@often(3)
def staff_unfreeze(world: World) -> None:
    for row in Subscription.objects.exclude(frozen_at=None):
        world.tell(f"{row.organization.name} is unfrozen")
        freezing.unfreeze(row)
