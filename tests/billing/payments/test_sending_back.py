"""A refund goes where the customer gets it: off an invoice to come, else to the cards that paid, once."""

from typing import Any

import pytest
from django.core.management import call_command
from django.template.loader import render_to_string
from django.utils import timezone

from billing import refunds
from billing.models import Invoice, LedgerEntry, Notice, Refund, Subscription
from billing.payments import sending_back
from ecohash import reconcile
from tests.at_once import at_once
from tests.billing.payments.books import balances, charge_of, look
from tests.billing.test_refunds import SAID, cheap_image, credits_at_stripe, send
from tests.cast import Person
from tests.payment import bill, buy, deliver, make_subscriber, report, subscribe
from tests.stripe_sandbox import StripeSandbox

REFUNDS = "/v1/refunds$"


def end(sandbox: StripeSandbox) -> None:
    """The subscription ends at once, with its last invoice."""
    row = Subscription.objects.get()
    report()
    sandbox.client().v1.subscriptions.cancel(str(row.subscription_id), {"invoice_now": True})
    deliver(sandbox)
    for invoice in sandbox.client().v1.invoices.list({"status": "draft"}).data:
        sandbox.finalize(invoice.id)
    for invoice in sandbox.client().v1.invoices.list({"customer": str(row.customer_id)}).data:
        look(sandbox, str(invoice.id))


def give(invoice: Invoice, micros: int, reason: str = "Black") -> Refund:
    return refunds.refund_amount(
        organization=invoice.organization, amount_micros=micros, reason=reason, by="staff"
    )


def to_cards(sandbox: StripeSandbox) -> list[tuple[str, int]]:
    """What went to cards, the newest first."""
    return [(str(each.charge), each.amount) for each in sandbox.client().v1.refunds.list().data]


def row_of(refund: Refund) -> str:
    shown = render_to_string("components/ledger_row.html", {"entry": refund.entry})
    return " ".join(shown.split())


# --- which way ------------------------------------------------------------------------------------


def test_while_a_subscription_lives_it_comes_off_the_next_invoice(
    paid: Invoice, stripe_here: StripeSandbox
) -> None:
    refund = give(paid, 20_000)
    assert (refund.to, refunds.where_to(refund)) == ("balance", ", off the next invoice")
    assert send() == 1
    assert credits_at_stripe(stripe_here) == [2]
    assert to_cards(stripe_here) == []
    assert balances()["receivable"] == -20_000


def test_after_the_last_invoice_it_goes_to_the_card_that_paid(
    paid: Invoice, stripe_here: StripeSandbox
) -> None:
    end(stripe_here)
    refund = give(paid, 205_000)
    assert (refund.to, refunds.where_to(refund)) == ("card", ", to the card that paid")
    assert "Will be sent to your card" in row_of(refund)
    assert send() == 1
    refund.refresh_from_db()
    assert "To your card" in row_of(refund)
    assert to_cards(stripe_here) == [(charge_of(paid), 21)]
    assert credits_at_stripe(stripe_here) == []
    deliver(stripe_here)
    payout = LedgerEntry.objects.get(kind="payout")
    assert (payout.amount_micros, payout.invoice, payout.reason) == (210_000, paid, "Black")
    assert balances() == {
        "revenue": -795_000,
        "rounding": 5_000,
        "stripe": 460_000,
        "fees": 330_000,
    }
    assert Subscription.objects.get().paid_micros == 790_000
    assert not Notice.objects.filter(kind="refund_at_stripe").exists()
    assert list(reconcile.differences()) == []


def test_an_invoice_to_come_takes_it_if_it_is_large_enough(
    paid: Invoice, subscriber: Person
) -> None:
    buy(subscriber, "1024x1024", 3)
    Subscription.objects.update(status="canceled")
    assert sending_back.to_come_micros(paid.organization) == 60_000
    assert sending_back.way_of(paid.organization, 6) == "balance"
    assert sending_back.way_of(paid.organization, 7) == "card"


def test_it_goes_as_things_are_when_it_is_sent(paid: Invoice, stripe_here: StripeSandbox) -> None:
    refund = give(paid, 20_000)
    end(stripe_here)
    assert send() == 1
    refund.refresh_from_db()
    assert refund.to == "card"
    assert to_cards(stripe_here) == [(charge_of(paid), 2)]


# --- several cards --------------------------------------------------------------------------------


def test_the_newest_payments_are_sent_back_first_and_none_more_than_was_paid(
    paid: Invoice, subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, "1024x1024", 40)
    newer = look(stripe_here, bill(stripe_here, Subscription.objects.get()))
    end(stripe_here)
    give(paid, 500_000)
    give(paid, 600_000, "More")
    assert send() == 2
    older_id, newer_id = charge_of(paid), charge_of(newer)
    assert to_cards(stripe_here) == [(older_id, 30), (newer_id, 30), (newer_id, 50)]
    assert "receivable" not in balances()


def test_a_disputed_payment_is_left_out(
    paid: Invoice, subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, "1024x1024", 40)
    newer = look(stripe_here, bill(stripe_here, Subscription.objects.get()))
    end(stripe_here)
    stripe_here.dispute(charge_of(newer))
    give(paid, 100_000)
    assert send() == 1
    assert to_cards(stripe_here) == [(charge_of(paid), 10)]


# --- what cannot be sent --------------------------------------------------------------------------


def test_what_nobody_paid_waits_for_staff_who_are_told_once(
    unpaid: Invoice, stripe_here: StripeSandbox
) -> None:
    end(stripe_here)
    refund = give(unpaid, 20_000)
    assert "no card can get it" in refunds.where_to(refund)
    for _ in range(3):
        assert send() == 0
    refund.refresh_from_db()
    assert refund.needs_staff
    assert "nothing was paid by card" in refund.note
    assert refunds.send_due() == 0
    [mail] = Notice.objects.filter(kind="refund_unsendable")
    assert "$0.02" in mail.facts["detail"]
    assert "next invoice" not in row_of(refund)
    assert "We will contact you" in row_of(refund)


def test_what_the_cards_cannot_get_comes_off_an_invoice_after_the_next_checkout(
    paid: Invoice, subscriber: Person, stripe_here: StripeSandbox
) -> None:
    end(stripe_here)
    stripe_here.client().v1.refunds.create({"charge": charge_of(paid), "amount": 90})
    refund = give(paid, 300_000)
    assert send() == 0
    assert to_cards(stripe_here)[0] == (charge_of(paid), 10)
    assert Refund.objects.get(pk=refund.pk).needs_staff
    subscribe(subscriber, stripe_here)
    assert send() == 1
    assert credits_at_stripe(stripe_here) == [20]
    refund.refresh_from_db()
    assert (refund.to, refund.needs_staff) == ("balance", False)


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["accept_then_drop", "500", "500_unstored", "409", "429", "drop_before"]
)
def test_after_a_fault_it_is_sent_once(
    paid: Invoice, stripe_here: StripeSandbox, one_try: None, fault: str
) -> None:
    end(stripe_here)
    give(paid, 20_000)
    stripe_here.fault(fault, path=REFUNDS, method="POST", times=1)
    assert send() == 0
    assert send() == 1
    assert to_cards(stripe_here) == [(charge_of(paid), 2)]
    assert "receivable" not in balances()


def test_what_was_begun_on_cards_is_not_begun_again_elsewhere(
    paid: Invoice, subscriber: Person, stripe_here: StripeSandbox, one_try: None
) -> None:
    """Stripe took the refund, the line broke, and then the customer subscribed and paid again."""
    end(stripe_here)
    give(paid, 20_000)
    stripe_here.fault("accept_then_drop", path=REFUNDS, method="POST", times=1)
    assert send() == 0
    subscribe(subscriber, stripe_here)
    assert send() == 1
    assert len(to_cards(stripe_here)) == 1
    assert credits_at_stripe(stripe_here) == []


def test_what_was_begun_on_the_balance_is_not_begun_again_on_a_card(
    paid: Invoice, stripe_here: StripeSandbox, one_try: None
) -> None:
    refund = give(paid, 20_000)
    stripe_here.fault("accept_then_drop", path="/balance_transactions$", method="POST", times=1)
    assert send() == 0
    end(stripe_here)
    assert send() == 1
    assert to_cards(stripe_here) == []
    refund.refresh_from_db()
    assert (refund.to, refund.stripe_id[:6]) == ("balance", "cbtxn_")


@pytest.mark.django_db(transaction=True)
def test_two_senders_and_the_webhook_write_it_once(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber, "1024x1024", 50)
    invoice = look(stripe_here, bill(stripe_here, Subscription.objects.get()))
    end(stripe_here)
    give(invoice, 20_000)
    give(invoice, 30_000)
    Refund.objects.update(not_before=timezone.now())
    sent = at_once(refunds.send_due, refunds.send_due, lambda: deliver(stripe_here))
    assert sum(sent[:2]) == 2
    deliver(stripe_here)
    assert sorted(cents for _, cents in to_cards(stripe_here)) == [2, 3]
    assert LedgerEntry.objects.filter(kind="payout").count() == 2
    assert balances()["stripe"] == 620_000


# --- rounding -------------------------------------------------------------------------------------


def test_the_rounding_of_refunds_leaves_nothing_owed(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    """Three of 1.8 cents are given back as two cents each, and the third of 5.4 is rounded up to 6."""
    price = cheap_image(subscriber, 18_000)
    for hold in buy(subscriber, price.size, 3):
        refunds.refund_image(hold=hold, **SAID)
    assert balances() == {"receivable": -6_000, "rounding": 6_000}
    assert list(reconcile.differences()) == []


def test_the_command_says_where_it_went(
    paid: Invoice, subscriber: Person, stripe_here: StripeSandbox, capsys: Any
) -> None:
    end(stripe_here)
    words = ["--organization", subscriber.user.email, "--amount", "0.10", "--reason", "Late"]
    call_command("refund", *words)
    assert "to the card that paid" in capsys.readouterr().out


def test_one_customer_without_a_card_holds_nobody_up(
    unpaid: Invoice, stripe_here: StripeSandbox
) -> None:
    end(stripe_here)
    give(unpaid, 20_000)
    tom = make_subscriber("Tom", stripe_here)
    [hold] = buy(tom)
    refunds.refund_image(hold=hold, **SAID)
    assert send() == 1
