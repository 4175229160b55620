"""Months of customers who pay, do not pay, get money back and contest it: the books balance after each."""

from datetime import UTC, datetime

from django.db import connection

from billing import refunds
from billing.ledger import pricing, usage
from billing.models import Invoice, Refund, Subscription, UsageHour
from billing.payments import trial_balance
from billing.payments.booking import Account
from ecohash import reconcile
from tests.billing.payments.books import charge_of, look, pay
from tests.billing.payments.conftest import DECLINED
from tests.billing.test_refunds import send
from tests.cast import Person, make_owner
from tests.payment import MODEL, bill, buy, deliver, subscribe
from tests.stripe_sandbox import StripeSandbox

YEAR = 2025


class Months:
    """Each of them is played now and dated back, for nobody waits for a month."""

    def __init__(self) -> None:
        self.month = 0
        self.closing: dict[str, int] = {}

    def close(self) -> dict[str, int]:
        """Date the new entries into the next month, and check its trial balance; returns the closing balances."""
        self.month += 1
        date_back(self.month)
        found = trial_balance.of(usage.month(YEAR, self.month))
        assert found.faults == []
        assert found.debit_micros == found.credit_micros > 0
        opening = {str(each.account.value): each.opening_micros for each in found.accounts}
        assert opening == (self.closing or dict.fromkeys(Account.values, 0))
        self.closing = {str(each.account.value): each.closing_micros for each in found.accounts}
        assert list(reconcile.differences()) == []
        return {account: micros for account, micros in self.closing.items() if micros}


def date_back(month: int) -> None:
    """Past our own code and past PostgreSQL's trigger, which refuse changes."""
    moment = datetime(YEAR, month, 20, tzinfo=UTC)
    since = datetime(YEAR + 1, 1, 1, tzinfo=UTC)
    UsageHour.objects.filter(hour__gte=since).update(hour=moment)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Checks of what this transaction has written would be in the way.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE billing_ledgerentry DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE billing_ledgerentry SET created_at = %s WHERE created_at >= %s", [moment, since]
        )
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE billing_ledgerentry ENABLE TRIGGER USER")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def invoice_of(
    person: Person, row: Subscription, sandbox: StripeSandbox, *, images: int, cheap: int = 0
) -> Invoice:
    """Bill a period of so many images, and look at its invoice."""
    buy(person, "1024x1024", images)
    buy(person, "512x512", cheap)
    return look(sandbox, bill(sandbox, row))


def test_the_books_balance_month_after_month(stripe_here: StripeSandbox, db: None) -> None:
    pricing.set_price(model=MODEL, size="512x512", amount_micros=3_000)
    sue, bob = (make_owner(name, credit_micros=0) for name in ("Sue", "Bob"))
    hers = subscribe(sue, stripe_here)
    his = subscribe(bob, stripe_here, card=DECLINED)
    at_stripe = stripe_here.client().v1
    months = Months()

    # Sue pays; 0.9 cents are a whole one. Bob does not pay.
    first = invoice_of(sue, hers, stripe_here, images=50, cheap=3)
    unpaid = invoice_of(bob, his, stripe_here, images=40)
    assert (first.total_cents, first.paid_cents) == (101, 101)
    assert (unpaid.total_cents, unpaid.status) == (80, "open")
    balances = {"receivable": 800_000, "revenue": -1_809_000, "rounding": -1_000}
    money = {"stripe": 1_010_000 - 330_000, "fees": 330_000}
    assert months.close() == balances | money

    # Bob's debt is given up. Sue gets 0.3 cents back, rounded up to a cent, off her next invoice.
    at_stripe.invoices.mark_uncollectible(str(unpaid.stripe_id))
    look(stripe_here, str(unpaid.stripe_id))
    give(sue, 3_000)
    assert send() == 1
    second = invoice_of(sue, hers, stripe_here, images=60)
    assert (second.total_cents, second.paid_cents) == (120, 119)
    balances = {"losses": 800_000, "revenue": -3_006_000, "rounding": 6_000}
    money = {"stripe": 2_200_000 - 330_000 - 335_000 + 5_000, "fees": 660_000}
    assert months.close() == balances | money

    # He pays after all. One of her payments is refunded by hand in part, and she contests the other.
    pay(stripe_here, unpaid)
    look(stripe_here, str(unpaid.stripe_id))
    at_stripe.refunds.create({"charge": charge_of(second), "amount": 19})
    dispute = stripe_here.dispute(charge_of(first))["id"]
    deliver(stripe_here)
    closing = months.close()
    assert closing["disputed"] == 1_010_000
    assert "losses" not in closing

    # She loses. Her subscription ends, and what she gets back then goes to the card that paid last.
    stripe_here.close_dispute(dispute, "lost")
    end(stripe_here, hers)
    give(sue, 500_000)
    assert send() == 1
    assert Refund.objects.latest("pk").to == "card"
    deliver(stripe_here)
    closing = months.close()
    assert closing["losses"] == 1_010_000
    assert "disputed" not in closing
    assert "receivable" not in closing

    # Bob's next invoice is voided. All that customers owe is known and nothing else is left.
    void = invoice_of(bob, his, stripe_here, images=100)
    at_stripe.invoices.void_invoice(str(void.stripe_id))
    look(stripe_here, str(void.stripe_id))
    closing = months.close()
    assert "receivable" not in closing
    assert closing["losses"] == 1_010_000 + 2_000_000
    check_paid(stripe_here, closing["stripe"])
    paid = {row.organization: row.paid_micros for row in Subscription.objects.all()}
    assert paid == {sue.organization: (119 - 19 - 50) * 10_000, bob.organization: 800_000}


def check_paid(sandbox: StripeSandbox, micros: int) -> None:
    """What Stripe says that it holds for us is what the ledger says."""
    movements = sandbox.client().v1.balance_transactions.list({"limit": 100}).data
    assert micros == sum(movement.net for movement in movements) * 10_000


def end(sandbox: StripeSandbox, row: Subscription) -> None:
    """The subscription ends at once, with its last invoice."""
    client = sandbox.client().v1
    client.subscriptions.cancel(str(row.subscription_id), {"invoice_now": True})
    deliver(sandbox)
    for draft in client.invoices.list({"status": "draft"}).data:
        sandbox.finalize(str(draft.id))
        look(sandbox, str(draft.id))


def give(person: Person, micros: int) -> None:
    refunds.refund_amount(
        organization=person.organization, amount_micros=micros, reason=f"{micros}", by="staff"
    )
