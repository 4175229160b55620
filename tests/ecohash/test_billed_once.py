"""I11: each batch is billed by one line of an invoice, or written off, by our rows alone."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from billing.invoicing import claiming, writing_off
from billing.models import Budget, Invoice, InvoiceLine
from billing.reporting import batching
from tests.cast import Person, make_owner
from tests.ecohash.past_months import past_triggers, reconcile
from tests.images import make
from tests.payment import buy

pytestmark = pytest.mark.django_db(transaction=True)
OLD = timedelta(days=41)


@pytest.fixture
def invoice(subscriber: Person, monkeypatch: pytest.MonkeyPatch) -> Invoice:
    """A final invoice of three images, whose line is right. Stripe does not know it, and is not asked."""
    monkeypatch.setattr("billing.invoicing.comparing.compare", lambda **_: iter(()))
    buy(subscriber, images=3)
    batching.seal()
    return billed(subscriber)


def billed(person: Person) -> Invoice:
    """An invoice that bills what it claims, settled and final."""
    now = timezone.now()
    invoice = Invoice.objects.create(
        organization=person.organization,
        kind=Invoice.Kind.LEFTOVER,
        stripe_id=f"in_{Invoice.objects.count()}",
    )
    claiming.claim(invoice)
    invoice.lines.update(
        stripe_quantity=F("quantity"), stripe_cents=F("claimed_cents") + F("carried_cents")
    )
    Invoice.objects.filter(pk=invoice.pk).update(
        status=Invoice.Status.PAID, finalized_at=now, done_at=now
    )
    return invoice


def grow_old() -> None:
    then = timezone.now() - OLD
    Invoice.objects.exclude(finalized_at=None).update(finalized_at=then, done_at=then)


def bill_too_much(_: Invoice) -> None:
    InvoiceLine.objects.update(stripe_cents=F("stripe_cents") + 2)
    grow_old()


def carry_what_is_not_wrong(_: Invoice) -> None:
    InvoiceLine.objects.update(carried_cents=-2, stripe_cents=F("stripe_cents") - 2)


def claim_fewer(_: Invoice) -> None:
    InvoiceLine.objects.update(quantity=2)


def claim_another_amount(_: Invoice) -> None:
    InvoiceLine.objects.update(claimed_cents=2, stripe_cents=2)


def claim_for_another_price(invoice: Invoice) -> None:
    other = make_line_of_another_price(invoice)
    past_triggers(
        "UPDATE billing_usagebatch SET invoice_line_id = %s", other.pk, table="billing_usagebatch"
    )
    InvoiceLine.objects.exclude(pk=other.pk).update(quantity=0, claimed_cents=0, stripe_cents=0)


def make_line_of_another_price(invoice: Invoice) -> InvoiceLine:
    line = invoice.lines.get()
    price = type(line.price).objects.exclude(pk=line.price_id).order_by("amount_micros").first()
    assert price
    cents = claiming.whole_cents(3 * price.amount_micros)
    return InvoiceLine.objects.create(
        invoice=invoice, price=price, quantity=3, claimed_cents=cents, stripe_cents=cents
    )


def claim_for_another_organization(invoice: Invoice) -> None:
    Invoice.objects.filter(pk=invoice.pk).update(organization=make_owner("Olga").organization)


DAMAGES: dict[str, tuple[Callable[[Invoice], None], str]] = {
    "an error that no line carries": (bill_too_much, "bills 2 cents too much"),
    "a carry of no error": (carry_what_is_not_wrong, "carries -2 cents, what it carries adds up"),
    "a smaller quantity": (claim_fewer, "claims 2 images, its batches hold 3"),
    "another amount": (claim_another_amount, "claims 2 cents for 3 images"),
    "a line of another price": (claim_for_another_price, "of another organization or price"),
    "another organization's line": (
        claim_for_another_organization,
        "of another organization or price",
    ),
}


def test_a_right_invoice_is_no_difference_however_old(invoice: Invoice) -> None:
    assert reconcile() == (0, ["The books are right."])
    grow_old()
    assert reconcile()[0] == 0


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_an_invoice_is_one_line(invoice: Invoice, damage: str) -> None:
    do, said = DAMAGES[damage]
    do(invoice)
    status, lines = reconcile()
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith("I11")
    assert said in lines[0]


def test_an_error_may_wait_for_the_next_invoice_and_is_right_when_it_is_carried(
    invoice: Invoice, subscriber: Person
) -> None:
    InvoiceLine.objects.update(stripe_cents=F("stripe_cents") + 2)
    assert reconcile()[0] == 0
    buy(subscriber)
    batching.seal()
    billed(subscriber)
    assert InvoiceLine.objects.get(carries__isnull=False).carried_cents == -2
    grow_old()
    assert reconcile()[0] == 0


def test_use_that_nobody_bills_for_40_days_is_found(invoice: Invoice, subscriber: Person) -> None:
    buy(subscriber, images=2)
    batching.seal()
    assert reconcile()[0] == 0
    past_triggers(
        "UPDATE billing_usagebatch SET last_captured_at = %s WHERE invoice_line_id IS NULL",
        timezone.now() - OLD,
        table="billing_usagebatch",
    )
    status, lines = reconcile()
    assert (status, len(lines)) == (1, 1)
    assert "2 images in 1 batches are older than 40 days" in lines[0]


def test_what_is_written_off_has_an_entry_of_its_amount(
    invoice: Invoice, subscriber: Person
) -> None:
    buy(subscriber, images=2)
    batching.seal()
    [entry] = writing_off.write_off(subscriber.organization, reason="test")
    assert entry
    assert reconcile()[0] == 0
    past_triggers(
        "UPDATE billing_ledgerentry SET amount_micros = 1 WHERE id = %s",
        entry.pk,
        table="billing_ledgerentry",
    )
    Budget.objects.filter(api_key=None).update(
        owed_micros=F("owed_micros") + entry.amount_micros - 1
    )
    status, lines = reconcile()
    assert (status, len(lines)) == (1, 1)
    assert f"writes off 1, its batches cost {2 * make.PRICE}" in lines[0]


def test_fix_adds_up_again_what_is_owed(invoice: Invoice) -> None:
    rows = Budget.objects.filter(api_key=None)
    right = list(rows.values_list("owed_micros", "owed_pending_micros"))
    rows.update(owed_micros=7, owed_pending_micros=9)
    assert reconcile()[0] == 1
    status, lines = reconcile("--fix")
    assert (status, lines[-1]) == (0, "The books are right.")
    assert "what it owes is added up again, owed_micros from 7 to" in lines[0]
    assert list(rows.values_list("owed_micros", "owed_pending_micros")) == right


def test_a_batch_of_another_release_that_was_billed_is_not_looked_for(invoice: Invoice) -> None:
    past_triggers(
        "UPDATE billing_usagebatch SET last_captured_at = %s, invoice_line_id = NULL, by_invoice = true",
        timezone.now() - OLD,
        table="billing_usagebatch",
    )
    InvoiceLine.objects.all().delete()
    assert reconcile()[0] == 0
