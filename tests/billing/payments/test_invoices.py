"""What is paid on an invoice stands in the ledger once, and so does what is given up."""

import sqlite3
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from billing.gateway.errors import CallInsideTransaction, StripeAway
from billing.models import Invoice, InvoiceLine, LedgerEntry, Notice, Price, Subscription
from billing.payments import invoices
from tests.at_once import at_once
from tests.billing.payments.books import balances, charge_of, kinds, look, pay
from tests.cast import Person
from tests.payment import bill, buy
from tests.stripe_sandbox import StripeSandbox


def at_stripe(sandbox: StripeSandbox) -> Any:
    return sandbox.client().v1.invoices


# --- paid -----------------------------------------------------------------------------------------


def test_a_payment_and_its_fee_are_written_once(paid: Invoice) -> None:
    assert paid.paid_cents == paid.due_cents == 100
    for _ in range(3):
        invoices.record(paid)
    assert kinds() == [
        ("payment", "stripe", "receivable", 1_000_000),
        ("fee", "fees", "stripe", 330_000),
    ]
    assert balances() == {"revenue": -1_000_000, "stripe": 670_000, "fees": 330_000}
    assert Subscription.objects.get().paid_micros == 1_000_000


@pytest.mark.django_db(transaction=True)
def test_two_looks_at_once_write_a_payment_once(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, "1024x1024", 50)
    invoice = look(stripe_here, bill(stripe_here, Subscription.objects.get()))
    assert at_once(*[lambda: invoices.record(invoice)] * 3) == [None] * 3
    assert [kind for kind, *_ in kinds()] == ["payment", "fee"]
    assert Subscription.objects.get().paid_micros == 1_000_000


def test_a_payment_that_comes_later_is_written_then(
    unpaid: Invoice, stripe_here: StripeSandbox
) -> None:
    assert (unpaid.status, unpaid.paid_cents, kinds()) == ("open", 0, [])
    pay(stripe_here, unpaid)
    assert look(stripe_here, str(unpaid.stripe_id)).paid_cents == 100
    assert Subscription.objects.get().paid_micros == 1_000_000


def test_what_is_paid_outside_stripe_is_no_money_of_a_card(
    unpaid: Invoice, stripe_here: StripeSandbox
) -> None:
    at_stripe(stripe_here).pay(unpaid.stripe_id, {"paid_out_of_band": True})
    assert look(stripe_here, str(unpaid.stripe_id)).paid_cents == 100
    invoices.record(unpaid)
    assert kinds() == [("payment", "other", "receivable", 1_000_000)]
    assert Subscription.objects.get().paid_micros == 0


def test_a_fee_that_stripe_tells_later_is_written_later(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, "1024x1024", 50)
    invoice_id = bill(stripe_here, Subscription.objects.get())
    [transaction_id] = forget_fees(stripe_here)
    invoice = look(stripe_here, invoice_id)
    assert invoices.book_missing_fees() == 0
    assert [kind for kind, *_ in kinds()] == ["payment"]
    edit_charges(stripe_here, transaction_id)
    assert [invoices.book_missing_fees() for _ in range(2)] == [1, 0]
    fee = LedgerEntry.objects.get(kind="fee")
    assert (fee.reference, fee.invoice) == (f"{charge_of(invoice)}:fee", invoice)


def forget_fees(sandbox: StripeSandbox) -> list[str]:
    """As for a way to pay whose fee Stripe tells days later; returns where they stand."""
    charges = sandbox.client().v1.charges.list().data
    edit_charges(sandbox, None)
    return [str(charge.balance_transaction) for charge in charges]


def edit_charges(sandbox: StripeSandbox, transaction_id: str | None) -> None:
    [state] = sandbox.folder.rglob("*.sqlite3")
    with sqlite3.connect(state, timeout=10) as connection:
        connection.execute(
            "UPDATE documents SET body = json_set(body, '$.balance_transaction', ?) WHERE kind = 'charge'",
            [transaction_id],
        )
    connection.close()


def test_an_invoice_of_nothing_is_not_asked_about(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    """Stripe does not collect less than half a dollar: it is carried to the next invoice, and still owed."""
    buy(subscriber, "1024x1024", 5)
    invoice = look(stripe_here, bill(stripe_here, Subscription.objects.get()))
    assert (invoice.status, invoice.total_cents, invoice.due_cents) == ("paid", 10, 0)
    assert balances() == {"receivable": 100_000, "revenue": -100_000}
    buy(subscriber, "1024x1024", 50)
    assert look(stripe_here, bill(stripe_here, Subscription.objects.get())).paid_cents == 110
    assert "receivable" not in balances()


def test_while_stripe_is_away_nothing_is_written(
    paid: Invoice, settings: Any, one_try: None
) -> None:
    before = kinds()
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    with pytest.raises(StripeAway):
        invoices.record(paid)
    assert kinds() == before


@pytest.mark.django_db(transaction=True)
def test_stripe_is_not_asked_inside_a_transaction(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, "1024x1024", 50)
    invoice = look(stripe_here, bill(stripe_here, Subscription.objects.get()))
    with pytest.raises(CallInsideTransaction), transaction.atomic():
        invoices.record(invoice)


# --- final ----------------------------------------------------------------------------------------


def test_a_final_invoice_and_the_ledger_are_the_same_sum(alice: Person) -> None:
    """3 images of 1.5 cents and 1 of 0.4 are 5 cents and none; tax; a line by hand; an error for the next invoice."""
    prices = [
        Price.objects.create(model="m", size=f"{micros}x1", version=1, amount_micros=micros)
        for micros in (15_000, 4_000)
    ]
    invoice = Invoice.objects.create(
        organization=alice.organization,
        kind="period",
        stripe_id="in_1",
        customer_id="cus_1",
        status="open",
        finalized_at=timezone.now(),
        total_cents=117,
        tax_cents=9,
        due_cents=117,
    )
    line = {"claimed_cents": 5, "carried_cents": 2, "stripe_cents": 4, "correction_cents": 4}
    InvoiceLine.objects.create(invoice=invoice, price=prices[0], quantity=3, **line)
    InvoiceLine.objects.create(invoice=invoice, price=prices[1], quantity=1)
    for _ in range(2):
        invoices.book_final(invoice)
    assert kinds() == [
        ("rounding", "receivable", "rounding", 1_000),
        ("tax", "receivable", "taxes", 90_000),
        ("other", "receivable", "other", 1_000_000),
    ]
    captured = 3 * 15_000 + 4_000
    carried, error = 20_000, 10_000
    owed = captured + sum(micros for *_, micros in kinds())
    assert owed == 1_170_000 - carried - error


# --- given up -------------------------------------------------------------------------------------


def mails() -> list[tuple[str, str]]:
    told = Notice.objects.filter(kind="invoice_written_off").order_by("pk")
    return [(notice.facts["status"], notice.facts["amount"]) for notice in told]


def test_an_uncollectible_invoice_is_a_loss_until_it_is_paid(
    unpaid: Invoice, stripe_here: StripeSandbox
) -> None:
    at_stripe(stripe_here).mark_uncollectible(unpaid.stripe_id)
    for _ in range(2):
        look(stripe_here, str(unpaid.stripe_id))
    assert balances() == {"losses": 1_000_000, "revenue": -1_000_000}
    assert mails() == [("uncollectible", "$1.00")]
    pay(stripe_here, unpaid)
    for _ in range(2):
        assert look(stripe_here, str(unpaid.stripe_id)).status == "paid"
    assert balances() == {"revenue": -1_000_000, "stripe": 670_000, "fees": 330_000}
    assert sorted(kind for kind, *_ in kinds()) == ["fee", "payment", "write_off", "write_off_paid"]
    assert len(mails()) == 1


def test_a_void_invoice_is_lost_with_what_a_credit_had_paid_and_its_tax_is_not_owed(
    unpaid: Invoice, stripe_here: StripeSandbox
) -> None:
    """Stripe gives the credit back to the customer's balance. Here it is the whole dollar of another invoice."""
    at_stripe(stripe_here).void_invoice(unpaid.stripe_id)
    Invoice.objects.filter(pk=unpaid.pk).update(total_cents=110, tax_cents=10, due_cents=90)
    unpaid.refresh_from_db()
    invoices.book_final(unpaid)
    Invoice.objects.filter(pk=unpaid.pk).update(status="void")
    for _ in range(2):
        invoices.record(unpaid)
    assert balances() == {"losses": 1_000_000, "revenue": -1_000_000}
    assert mails() == [("void", "$1.00")]


def test_an_uncollectible_invoice_may_be_voided(
    unpaid: Invoice, stripe_here: StripeSandbox
) -> None:
    at_stripe(stripe_here).mark_uncollectible(unpaid.stripe_id)
    look(stripe_here, str(unpaid.stripe_id))
    at_stripe(stripe_here).void_invoice(unpaid.stripe_id)
    assert look(stripe_here, str(unpaid.stripe_id)).status == "void"
    assert balances() == {"losses": 1_000_000, "revenue": -1_000_000}
    assert [kind for kind, *_ in kinds()] == ["write_off"]
