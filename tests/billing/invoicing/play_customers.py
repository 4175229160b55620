"""What customers, staff and banks do in the play: subscriptions, cards, invoices, refunds and disputes."""

from billing import refunds
from billing.gateway import checkout as hosted_checkout
from billing.gateway.errors import GatewayError
from billing.models import Hold, Subscription
from billing.subscriptions import checkout, freezing, items
from tests.billing.invoicing.play_moves import BAD, GOOD, often, someone
from tests.billing.invoicing.play_world import World
from tests.cast import Person
from tests.stripe_catalog import stock

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
