"""What somebody refunds in Stripe's dashboard is found, counted once and told."""

from typing import Any

from django.template.loader import render_to_string

from accounts.access import OrganizationRequest
from billing import refunds, webhook_events
from billing.gateway import payments
from billing.models import Invoice, LedgerEntry, Notice, Refund, Subscription
from billing.pages.billing import ledger_page
from billing.payments import refunded
from ecohash import reconcile
from tests.billing.payments.books import balances, charge_of, kinds
from tests.billing.test_webhook_events import event
from tests.payment import deliver
from tests.stripe_sandbox import StripeSandbox

Account = LedgerEntry.Account


def refund_by_hand(sandbox: StripeSandbox, invoice: Invoice, cents: int, **more: Any) -> str:
    wanted: Any = {"charge": charge_of(invoice), "amount": cents, **more}
    made = sandbox.client().v1.refunds.create(wanted)
    return str(made.id)


def test_refunds_made_by_hand_stand_in_the_ledger_and_are_told_once(
    paid: Invoice, stripe_here: StripeSandbox
) -> None:
    first = refund_by_hand(stripe_here, paid, 30)
    deliver(stripe_here, times=2)
    refund_by_hand(stripe_here, paid, 20)
    deliver(stripe_here)
    assert kinds()[2:] == [
        ("refund", "revenue", "stripe", 300_000),
        ("refund", "revenue", "stripe", 200_000),
    ]
    assert Subscription.objects.get().paid_micros == 500_000
    row = Refund.objects.get(stripe_id=first)
    assert (row.to, row.cents, row.by, bool(row.done_at)) == ("card", 30, "made at Stripe", True)
    assert row.entry.invoice == paid
    told = Notice.objects.filter(kind="refund_at_stripe").order_by("pk")
    assert [notice.facts["amount"] for notice in told] == ["$0.30", "$0.20"]
    assert list(reconcile.differences()) == []


def test_no_more_is_refunded_after_that(paid: Invoice, stripe_here: StripeSandbox) -> None:
    refund_by_hand(stripe_here, paid, 100)
    deliver(stripe_here)
    assert refunds.refundable_micros(paid.organization, Account.RECEIVABLE) == 0


def test_the_customer_sees_it(paid: Invoice, stripe_here: StripeSandbox) -> None:
    refund_by_hand(stripe_here, paid, 30)
    deliver(stripe_here)
    entry = LedgerEntry.objects.get(kind="refund")
    row = " ".join(render_to_string("components/ledger_row.html", {"entry": entry}).split())
    request = OrganizationRequest()
    request.organization = paid.organization
    assert entry in ledger_page(request)[0]
    assert "Refund to your card" in row
    assert "To your card" in row
    assert "+$0.300" in row


def test_what_names_no_refund_of_ours_was_made_by_hand(
    paid: Invoice, stripe_here: StripeSandbox
) -> None:
    """Whoever writes to Stripe's metadata may write anything."""
    for name in ("nonsense", "7f3b2a52-2a26-4b3e-93f5-1de8de4d2f37"):
        refund_by_hand(stripe_here, paid, 10, metadata={"refund": name})
    deliver(stripe_here)
    assert [kind for kind, *_ in kinds()][2:] == ["refund", "refund"]


def test_a_refund_that_its_bank_does_not_take_is_taken_back(
    paid: Invoice, stripe_here: StripeSandbox
) -> None:
    sent = payments.CardRefund(
        refund_by_hand(stripe_here, paid, 30), charge_of(paid), 30, "succeeded", ""
    )
    failed = payments.CardRefund(sent.id, sent.charge_id, 30, "failed", "")
    assert not refunded.record_one(paid.organization, failed)
    for each in (sent, failed, failed):
        refunded.record_one(paid.organization, each)
    assert balances() == {"revenue": -1_000_000, "stripe": 670_000, "fees": 330_000}
    assert Notice.objects.filter(kind="refund_came_back").count() == 1
    assert Subscription.objects.get().paid_micros == 1_000_000


def test_the_event_of_a_refund_leads_to_its_charge(
    paid: Invoice, stripe_here: StripeSandbox
) -> None:
    kept = event("refund.failed", refund_by_hand(stripe_here, paid, 30))
    webhook_events.work()
    kept.refresh_from_db()
    assert kept.note == "1 new"


def test_a_charge_of_nobody_is_left(db: None, stripe_here: StripeSandbox) -> None:
    kept = event("charge.refunded", "ch_of_nobody")
    webhook_events.work()
    kept.refresh_from_db()
    assert kept.note == "gone at Stripe"
    assert not LedgerEntry.objects.exists()
