"""Money given back: once, to whoever paid, and never less than was written."""

import sqlite3
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import Membership
from billing import refunds
from billing.invoicing import comparing
from billing.ledger import grants
from billing.models import Credit, LedgerEntry, Notice, Price, Refund, Subscription
from billing.refunds import NotRefundable, refund_amount, refund_image
from billing.subscriptions import syncing
from ecohash import reconcile
from images.jobs import leases
from tests.at_once import at_once
from tests.cast import Person
from tests.images import make
from tests.payment import MODEL, bill, buy, deliver, make_subscriber, subscribe
from tests.stripe_sandbox import StripeSandbox

BALANCE = "/balance_transactions$"
SAID = {"reason": "The picture came out black", "by": "staff@example.com"}


def given_back() -> list[int]:
    """The ledger's refunds, the oldest first."""
    entries = LedgerEntry.objects.filter(kind="refund").order_by("pk")
    return list(entries.values_list("amount_micros", flat=True))


def granted(person: Person) -> int:
    return Credit.objects.get(organization=person.organization).granted_micros


def credits_at_stripe(sandbox: StripeSandbox, customer: str = "") -> list[int]:
    """What stands on the customer's balance, in cents, the newest first."""
    customer = customer or str(Subscription.objects.get().customer_id)
    made = sandbox.client().v1.customers.balance_transactions.list(customer).data
    return [-each.amount for each in made]


def send() -> int:
    """As if whatever waits had waited long enough."""
    Refund.objects.update(not_before=timezone.now())
    return refunds.send_due()


def cheap_image(person: Person, micros: int) -> Any:
    """One at a price that is no whole number of cents."""
    price = Price.objects.create(
        model=MODEL, size=f"{micros}x{micros}", version=1, amount_micros=micros
    )
    row = syncing.get_or_create(person.organization)
    row.items.create(price=price, item_id=f"si_{micros}")
    return price


@pytest.fixture(autouse=True)
def _books_are_right(db: None) -> Any:
    """Whatever a test does."""
    yield
    assert list(reconcile.differences()) == []


# --- paid by credit -------------------------------------------------------------------------------


def test_what_credit_paid_becomes_credit_again(alice: Person) -> None:
    before = granted(alice)
    job = make.succeeded(alice)
    refund = refund_image(hold=job.hold, **SAID)
    assert granted(alice) == before + make.PRICE
    assert (refund.cents, refund.by) == (0, "staff@example.com")
    assert refund.done_at
    entry = LedgerEntry.objects.get(kind="refund")
    assert (entry.debit, entry.credit, entry.hold) == ("revenue", "customer_credit", job.hold)
    assert entry.reason == "The picture came out black"
    assert refunds.send_due() == 0


def test_an_image_is_given_back_once(alice: Person) -> None:
    job = make.succeeded(alice)
    refund_image(hold=job.hold, **SAID)
    with pytest.raises(NotRefundable, match="refunded before"):
        refund_image(hold=job.hold, reason="Again", by="another@example.com")
    assert given_back() == [make.PRICE]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("payer", ["credit", "subscription"])
def test_an_image_is_given_back_once_to_two_at_once(payer: str, request: Any) -> None:
    if payer == "credit":
        hold = make.succeeded(request.getfixturevalue("alice")).hold
    else:
        request.getfixturevalue("subscriber")
        [hold] = buy(request.getfixturevalue("subscriber"))
    results = at_once(*[lambda: refund_image(hold=hold, **SAID)] * 4)
    assert sorted(type(each).__name__ for each in results) == [*["NotRefundable"] * 3, "Refund"]
    assert given_back() == [hold.amount_micros]


@pytest.mark.django_db(transaction=True)
def test_images_given_back_while_others_are_drawn_wait_for_nobody_for_ever(alice: Person) -> None:
    """Both want the credit: the refund has locked the organization first, the others have not."""
    held = [make.succeeded(alice).hold for _ in range(3)]
    running = [make.running(alice) for _ in range(2)]
    pictures = [make.stored(job) for job in running]
    results = at_once(
        *[lambda hold=hold: refund_image(hold=hold, **SAID) for hold in held],
        *[
            lambda job=job, picture=picture: leases.deliver(job, picture)
            for job, picture in zip(running, pictures, strict=True)
        ],
        *[lambda: make.queued(alice) for _ in range(2)],
    )
    assert [each for each in results if isinstance(each, Exception)] == []
    make.books(alice)


def test_what_was_not_charged_is_not_given_back(alice: Person) -> None:
    for job in (make.queued(alice), make.claimed()):
        with pytest.raises(NotRefundable, match="not charged"):
            refund_image(hold=job.hold, **SAID)
    assert given_back() == []


@pytest.mark.parametrize(
    ("reason", "why"), [("", "Say why"), (" \n", "Say why"), ("x" * 201, "at most 200")]
)
def test_a_reason_is_asked_for(alice: Person, reason: str, why: str) -> None:
    job = make.succeeded(alice)
    with pytest.raises(NotRefundable, match=why):
        refund_image(hold=job.hold, reason=reason, by="staff@example.com")
    with pytest.raises(NotRefundable, match=why):
        refund_amount(
            organization=alice.organization, amount_micros=1, reason=reason, by="staff@example.com"
        )
    assert given_back() == []


# --- amounts --------------------------------------------------------------------------------------


def test_no_more_is_given_back_than_was_charged(alice: Person) -> None:
    make.succeeded(alice)
    for micros in (0, -1, make.PRICE + 1):
        with pytest.raises(NotRefundable, match=r"above zero|at most \$0.010"):
            refund_amount(organization=alice.organization, amount_micros=micros, **SAID)
    refund_amount(organization=alice.organization, amount_micros=make.PRICE, **SAID)
    with pytest.raises(NotRefundable, match=r"at most \$0.00"):
        refund_amount(organization=alice.organization, amount_micros=1, reason="More", by="x")
    assert given_back() == [make.PRICE]


def test_an_image_is_not_given_back_on_top_of_all_that_was_charged(alice: Person) -> None:
    job = make.succeeded(alice)
    refund_amount(organization=alice.organization, amount_micros=make.PRICE, **SAID)
    with pytest.raises(NotRefundable, match="at most"):
        refund_image(hold=job.hold, **SAID)
    assert given_back() == [make.PRICE]


def test_the_same_amount_for_the_same_reason_is_given_once_and_meant_twice_later(
    alice: Person,
) -> None:
    for _ in range(3):
        make.succeeded(alice)

    def give(reason: str) -> Refund:
        return refund_amount(
            organization=alice.organization, amount_micros=make.PRICE, reason=reason, by="x"
        )

    give("Too slow")
    with pytest.raises(NotRefundable, match="a moment ago"):
        give("Too slow")
    give("Too slow, second day")
    assert len(given_back()) == 2


@pytest.mark.django_db(transaction=True)
def test_two_at_once_do_not_give_the_same_money_back(alice: Person) -> None:
    make.succeeded(alice)

    def give(reason: str) -> Refund:
        return refund_amount(
            organization=alice.organization, amount_micros=make.PRICE, reason=reason, by="x"
        )

    results = at_once(lambda: give("One"), lambda: give("Two"))
    assert sorted(type(each).__name__ for each in results) == ["NotRefundable", "Refund"]
    assert given_back() == [make.PRICE]


def test_an_amount_comes_off_the_invoice_where_that_was_charged_and_else_is_credit(
    subscriber: Person,
) -> None:
    grants.grant(organization=subscriber.organization, amount_micros=20_000, reason="A gift")
    buy(subscriber, images=4)
    refund_amount(organization=subscriber.organization, amount_micros=15_000, reason="One", by="x")
    refund_amount(organization=subscriber.organization, amount_micros=15_000, reason="Two", by="x")
    rows = Refund.objects.order_by("pk").values_list("entry__credit", "cents")
    assert list(rows) == [("receivable", 2), ("customer_credit", 0)]


# --- paid by the subscription ---------------------------------------------------------------------


def test_cents_are_rounded_up_over_all_refunds_together(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    """1.8 cents three times are 5.4: six in all, and at no time less than owed or a cent more."""
    price = cheap_image(subscriber, 18_000)
    owed = given = 0
    for _ in range(3):
        [hold] = buy(subscriber, size=price.size)
        refund_image(hold=hold, **SAID)
        assert send() == 1
        owed, given = owed + 18_000, sum(credits_at_stripe(stripe_here)) * 10_000
        assert owed <= given < owed + 10_000
    assert credits_at_stripe(stripe_here) == [2, 2, 2]


def test_a_refund_that_a_cent_already_covers_needs_no_call(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    price = cheap_image(subscriber, 2_000)
    first, second = (refund_image(hold=hold, **SAID) for hold in buy(subscriber, price.size, 2))
    assert (first.cents, second.cents) == (1, 0)
    assert second.done_at
    assert send() == 1
    assert credits_at_stripe(stripe_here) == [1]


def test_the_next_invoice_is_reduced(subscriber: Person, stripe_here: StripeSandbox) -> None:
    """Above the amount under which a card is not charged."""
    bought = buy(subscriber, "1024x1024", 50)
    refund_image(hold=bought[0], **SAID)
    assert send() == 1
    row = Subscription.objects.get()
    invoice = stripe_here.client().v1.invoices.retrieve(bill(stripe_here, row))
    assert (invoice.total, invoice.amount_paid) == (100, 98)
    assert list(comparing.compare()) == []


def test_while_stripe_is_away_it_waits_and_is_given_once(
    subscriber: Person, stripe_here: StripeSandbox, settings: Any, one_try: None
) -> None:
    [hold] = buy(subscriber)
    refund = refund_image(hold=hold, **SAID)
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    for _ in range(refunds.ALARM_AFTER_TRIES):
        assert not Notice.objects.filter(kind="refund_stuck").exists()
        assert send() == 0
    refund.refresh_from_db()
    assert "could not be reached" in refund.note
    assert refund.not_before > timezone.now()
    assert refunds.send_due() == 0
    assert Notice.objects.filter(kind="refund_stuck").count() == 1
    settings.STRIPE_API_BASE = stripe_here.base_url
    assert send() == 1
    assert send() == 0
    refund.refresh_from_db()
    assert refund.stripe_id
    assert refund.note == ""
    assert credits_at_stripe(stripe_here) == [1]


@pytest.mark.parametrize(
    "fault", ["accept_then_drop", "500", "500_unstored", "409", "429", "drop_before"]
)
def test_after_a_fault_it_is_given_once(
    subscriber: Person, stripe_here: StripeSandbox, one_try: None, fault: str
) -> None:
    [hold] = buy(subscriber)
    refund_image(hold=hold, **SAID)
    stripe_here.fault(fault, path=BALANCE, method="POST", times=1)
    assert send() == 0
    assert send() == 1
    assert credits_at_stripe(stripe_here) == [1]


def test_what_stripe_took_before_the_line_broke_is_found_after_its_key_has_lapsed(
    subscriber: Person, stripe_here: StripeSandbox, one_try: None
) -> None:
    [hold] = buy(subscriber)
    refund = refund_image(hold=hold, **SAID)
    stripe_here.fault("accept_then_drop", path=BALANCE, method="POST", times=1)
    assert send() == 0
    forget_keys(stripe_here)
    assert send() == 1
    refund.refresh_from_db()
    made = stripe_here.client().v1.customers.balance_transactions
    [only] = made.list(str(Subscription.objects.get().customer_id)).data
    assert refund.stripe_id == only.id


def forget_keys(sandbox: StripeSandbox) -> None:
    """A day later Stripe knows no idempotency key any more."""
    [state] = sandbox.folder.rglob("*.sqlite3")
    with sqlite3.connect(state, timeout=10) as connection:
        forgotten = connection.execute("DELETE FROM answers WHERE key LIKE 'refund:%'")
        assert forgotten.rowcount == 1
    connection.close()


def test_without_a_key_it_waits(subscriber: Person, settings: Any) -> None:
    [hold] = buy(subscriber)
    refund_image(hold=hold, **SAID)
    settings.STRIPE_SECRET_KEY = ""
    assert send() == 0
    assert Refund.objects.get().tries == 0


@pytest.mark.django_db(transaction=True)
def test_two_senders_give_it_once(subscriber: Person, stripe_here: StripeSandbox) -> None:
    for hold in buy(subscriber, images=3):
        refund_image(hold=hold, **SAID)
    results = at_once(*[refunds.send_due] * 3)
    assert sum(results) == 3
    assert set(Refund.objects.values_list("tries", flat=True)) == {1}
    assert credits_at_stripe(stripe_here) == [1, 1, 1]


def test_what_one_customer_is_refused_does_not_hold_others_up(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    tom = make_subscriber("Tom", stripe_here)
    for person in (subscriber, tom):
        [hold] = buy(person)
        refund_image(hold=hold, **SAID)
    stripe_here.client().v1.customers.delete(
        syncing.get_or_create(subscriber.organization).customer_id
    )
    assert send() == 1
    toms = str(syncing.get_or_create(tom.organization).customer_id)
    assert credits_at_stripe(stripe_here, toms) == [1]


def test_a_deleted_customers_refund_waits_for_the_next_customer(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    [hold] = buy(subscriber)
    refund_image(hold=hold, **SAID)
    stripe_here.client().v1.customers.delete(
        syncing.get_or_create(subscriber.organization).customer_id
    )
    assert send() == 0
    deliver(stripe_here)
    assert send() == 0
    assert "nothing was paid by card" in Refund.objects.get().note
    subscribe(subscriber, stripe_here)
    assert send() == 1
    assert credits_at_stripe(stripe_here) == [1]


# --- manage.py refund -----------------------------------------------------------------------------


def test_the_command_gives_an_image_back(alice: Person, capsys: Any) -> None:
    job = make.succeeded(alice)
    call_command("refund", "--generation", job.pk, "--reason", "Black")
    assert f"$0.010 given back to {alice.organization} as credit." in capsys.readouterr().out
    assert Refund.objects.get().by == "operator"


def test_the_command_gives_an_amount_back(subscriber: Person, capsys: Any) -> None:
    buy(subscriber, images=2)
    words = ["--organization", "SUE@example.com", "--amount", "0.015", "--by", "ada@example.com"]
    call_command("refund", *words, "--reason", "Too slow")
    assert "$0.015 given back" in (said := capsys.readouterr().out)
    assert "off the next invoice" in said
    assert Refund.objects.get().by == "ada@example.com"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--generation", "gen_none"], "no image gen_none"),
        (["--generation", "gen_none", "--amount", "1"], "leave --amount out"),
        (["--organization", "alice@example.com"], "Say how much"),
        (["--organization", "alice@example.com", "--amount", "much"], "an amount in dollars"),
        (["--organization", "alice@example.com", "--amount", "0"], "above zero"),
        (["--organization", "alice@example.com", "--amount", "1"], "at most \\$0.00"),
        (["--organization", "nobody@example.com", "--amount", "1"], "owns no organization"),
        ([], "one of the arguments"),
    ],
)
def test_the_command_says_what_is_wrong(alice: Person, words: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        call_command("refund", *words, "--reason", "Black")
    assert given_back() == []


def test_the_command_does_not_guess_among_several_organizations(
    alice: Person, charlie: Person
) -> None:
    Membership.objects.create(user=alice.user, organization=charlie.organization, role="owner")
    words = ["--organization", "alice@example.com", "--amount", "1", "--reason", "Black"]
    with pytest.raises(CommandError, match=r"owns several: .*charlie's organization"):
        call_command("refund", *words)
