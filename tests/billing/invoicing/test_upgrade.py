"""The first invoice after an upgrade from a release that kept no rows of invoices."""

from billing.gateway import invoices
from billing.models import Invoice, Subscription, UsageBatch
from tests.cast import Person
from tests.payment import await_next_second, buy, end_period, report
from tests.stripe_sandbox import StripeSandbox


def bill_as_before(sandbox: StripeSandbox, row: Subscription) -> None:
    """Stripe made the invoice final by itself, and no row of it was kept."""
    report()
    sandbox.finalize(sandbox.end_period(str(row.subscription_id))["id"])
    sandbox.undelivered()
    await_next_second()


def test_what_older_invoices_bill_is_not_billed_again(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    row = Subscription.objects.get()
    for images in (60, 70):
        buy(subscriber, "512x512", images)
        bill_as_before(stripe_here, row)
    Invoice.objects.all().delete()
    Subscription.objects.update(invoices_read_at=None)
    buy(subscriber, "512x512", 80)
    third = end_period(stripe_here, row)
    assert invoices.find(third).total_cents == 80
    assert sorted(
        Invoice.objects.filter(total_cents__gt=0).values_list("total_cents", flat=True)
    ) == [
        60,
        70,
        80,
    ]
    assert not UsageBatch.objects.unclaimed().exists()
    assert Subscription.objects.get().invoices_read_at
