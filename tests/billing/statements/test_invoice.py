"""The statement of an invoice: every sum adds up, and each difference from Stripe's meter has its reason."""

import random
from datetime import timedelta

import pytest
from django.utils import timezone

from billing import refunds
from billing.models import Hold, Invoice, InvoiceLine, Refund
from billing.statements import balance, claims, invoice, next_invoice
from billing.statements.figures import Figure, Images, InvoiceStatement
from tests import statements as made
from tests.cast import Person
from tests.pages.paying import subscribed
from tests.statements import APRIL, MARCH, Account, Kind

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def statement(of: Invoice) -> InvoiceStatement:
    return invoice.statement_of(Invoice.objects.select_related("organization").get(pk=of.pk))


def test_why_was_i_charged_four_dollars_twenty_in_march(alice: Person) -> None:
    late = made.batch(made.used(alice, "512x512", 20, MARCH - DAY), metered=False)
    before = made.batch(made.used(alice, "512x512", 30, MARCH + HOUR))
    in_time = made.batch(made.used(alice, "512x512", 300, MARCH + DAY))
    missed = made.batch(made.used(alice, "512x512", 100, MARCH + 2 * DAY), metered=False)
    made.used(alice, "1024x1024", 50, MARCH + 3 * DAY, payer=Hold.Payer.CREDIT)
    first = made.invoice(
        alice, "ECO-1", kind=Invoice.Kind.INTERIM, period_end=MARCH + 3 * HOUR, period_start=None
    )
    made.claim(first, [before])
    march = made.invoice(alice, "ECO-2")
    made.claim(march, [late, in_time, missed], stripe_images=330)
    made.close(march, paid=420)

    found = statement(march)
    [price] = found.prices
    assert (price.images, price.exact_micros, price.billed_micros) == (420, 4_200_000, 4_200_000)
    assert (price.stripe_micros, price.correction_micros) == (3_300_000, 900_000)
    assert price.reasons == [
        Images(claims.BILLED_BEFORE, -30, "ECO-1"),
        Images(claims.EARLIER, 20),
        Images(claims.NOT_COUNTED, 100),
    ]
    assert found.use.images == 480
    assert sorted(found.use.paid, key=lambda part: part.images) == [
        Images("on another invoice", 30, "ECO-1"),
        Images("paid by credit, $0.00 on this invoice", 50),
        Images("on this invoice", 400),
    ]
    assert found.use.earlier == 20
    assert found.use.credit_micros == 1_000_000
    assert (found.total_micros, found.open_micros) == (4_200_000, 0)
    assert [figure.words for figure in found.payments] == ["Payment by card"]


def test_an_invoice_of_our_own_is_not_compared_with_the_meter(alice: Person) -> None:
    batch = made.batch(made.used(alice, "512x512", 30, MARCH + HOUR))
    # Ours end with their last image.
    own = made.invoice(
        alice,
        "ECO-1",
        kind=Invoice.Kind.INTERIM,
        period_start=None,
        period_end=batch.last_captured_at,
    )
    made.claim(own, [batch])
    made.close(own)
    found = statement(own)
    assert found.prices[0].reasons == [Images(claims.NOT_METERED, 30)]
    assert found.period_start == MARCH + HOUR
    assert found.use.paid == [Images("on this invoice", 30)]


def test_what_the_meter_counts_too_much_is_said(alice: Person) -> None:
    batch = made.batch(made.used(alice, "512x512", 30, MARCH + HOUR))
    march = made.invoice(alice, "ECO-1")
    made.claim(march, [batch], stripe_images=35)
    assert statement(march).prices[0].reasons == [Images(claims.NOT_DELIVERED, -5)]


def test_a_late_batch_that_the_meter_has_counted_in_this_period_needs_no_reason(
    alice: Person,
) -> None:
    late = made.batch(made.used(alice, "512x512", 3, MARCH - DAY))
    type(late).objects.update(timestamp=MARCH + HOUR)
    march = made.invoice(alice, "ECO-1")
    made.claim(march, [late], stripe_images=3)
    found = statement(march)
    assert found.prices[0].reasons == []
    assert found.use.earlier == 3


def test_what_was_billed_wrong_is_carried_and_both_invoices_say_so(alice: Person) -> None:
    february = made.invoice(alice, "ECO-1", period_start=MARCH - 28 * DAY, period_end=MARCH)
    old = made.batch(made.used(alice, "768x768", 3, MARCH - DAY))
    wrong = made.claim(february, [old], stripe_images=1, correction_cents=0)
    march = made.invoice(alice, "ECO-2")
    new = made.batch(made.used(alice, "768x768", 2, MARCH + DAY))
    line = made.claim(march, [new], stripe_images=2, carried_cents=3)
    InvoiceLine.objects.filter(pk=wrong.pk).update(carried_by=line)

    [price] = statement(february).prices
    # 4.5 and 1.5 cents are rounded half up.
    assert (price.rounding_micros, price.error_micros, price.carried_to) == (
        5_000,
        -30_000,
        "ECO-2",
    )
    [price] = statement(march).prices
    assert price.carried == [Figure("Billed too little before", 30_000, None, "ECO-1")]
    assert price.billed_micros == 60_000


def test_refunds_come_off_the_invoice_after_them_with_their_reasons(alice: Person) -> None:
    subscribed(alice)
    made.used(alice, "512x512", 100, MARCH - DAY)
    for cents, reason in ((30, "Torn"), (50, "Late")):
        refunds.refund_amount(
            organization=alice.organization, amount_micros=cents * 10_000, reason=reason, by="x"
        )
    Refund.objects.update(done_at=MARCH)
    february = made.invoice(alice, "ECO-1", period_start=MARCH - 28 * DAY, period_end=MARCH)
    made.claim(february, [made.batch(made.used(alice, "512x512", 40, MARCH - DAY))])
    made.close(february, credit=40)
    march = made.invoice(alice, "ECO-2")
    made.claim(march, [made.batch(made.used(alice, "512x512", 60, MARCH + DAY))])
    made.close(march, credit=45)

    assert [(each.words, each.micros) for each in statement(february).credits] == [
        ("Refund: Torn", 300_000),
        ("Refund: Late (part of $0.50)", 100_000),
    ]
    found = statement(march)
    assert [(each.words, each.micros) for each in found.credits] == [
        ("Refund: Late (part of $0.50)", 400_000),
        ("Credit given at Stripe", 50_000),
    ]
    assert found.due_micros == 150_000


def test_an_invoice_too_small_to_charge_is_asked_for_with_the_next_one(alice: Person) -> None:
    subscribed(alice, period_start=APRIL, period_end=APRIL + 30 * DAY)
    february = made.invoice(alice, "ECO-1", period_start=MARCH - 28 * DAY, period_end=MARCH)
    made.claim(february, [made.batch(made.used(alice, "512x512", 44, MARCH - DAY))])
    made.close(february, credit=44)
    assert [(each.words, each.micros) for each in statement(february).credits] == [
        (balance.TOO_LITTLE, 440_000)
    ]
    [debt] = next_invoice.so_far(alice.organization).credits
    assert (debt.words, debt.micros) == (balance.CARRIED, -440_000)
    march = made.invoice(alice, "ECO-2")
    made.claim(march, [made.batch(made.used(alice, "512x512", 60, MARCH + DAY))])
    made.close(march, credit=-44)
    found = statement(march)
    assert [(each.words, each.micros) for each in found.credits] == [(balance.CARRIED, -440_000)]
    assert found.due_micros == 1_040_000
    assert next_invoice.so_far(alice.organization).credits == []


def test_payments_write_offs_and_money_sent_back(alice: Person) -> None:
    march = made.invoice(alice, "ECO-1")
    made.claim(march, [made.batch(made.used(alice, "512x512", 100, MARCH + DAY))])
    made.close(march, paid=60)
    Invoice.objects.filter(pk=march.pk).update(paid_cents=70)
    made.post(march, Kind.WRITE_OFF, Account.LOSSES, Account.RECEIVABLE, 5)
    made.post(march, Kind.PAYOUT, Account.RECEIVABLE, Account.STRIPE, 20, reason="Torn")
    made.post(march, Kind.FEE, Account.FEES, Account.STRIPE, 3)
    made.post(march, Kind.DISPUTE, Account.DISPUTED, Account.STRIPE, 60)
    found = statement(march)
    assert [(each.words, each.micros) for each in found.payments] == [
        ("Payment by card", 600_000),
        ("Written off", 50_000),
        (invoice.NOT_BOOKED, 100_000),
    ]
    assert found.open_micros == 250_000
    assert [each.words for each in found.afterwards] == [
        "Sent back to the card: Torn",
        "Payment disputed",
    ]


# --- what is not final ----------------------------------------------------------------------------


def test_the_period_so_far_is_what_no_invoice_has_claimed(alice: Person) -> None:
    now = timezone.now()
    subscribed(alice, period_start=now - 2 * DAY, period_end=now + 28 * DAY)
    made.batch(made.used(alice, "512x512", 2, now - 3 * DAY), metered=False)
    made.batch(made.used(alice, "512x512", 3, now - DAY))
    made.used(alice, "768x768", 1, now - HOUR)
    made.used(alice, "512x512", 4, now - HOUR, payer=Hold.Payer.CREDIT)
    billed = made.invoice(
        alice, "ECO-1", kind="interim", period_start=None, period_end=now - HOUR / 2
    )
    made.claim(billed, [made.batch(made.used(alice, "512x512", 5, now - DAY))])
    found = next_invoice.so_far(alice.organization)
    assert [(each.size, each.images, each.billed_micros) for each in found.prices] == [
        ("512x512", 5, 50_000),
        ("768x768", 1, 20_000),
    ]
    assert found.use.paid == [
        Images("on this invoice", 4),
        Images("on another invoice", 5, "ECO-1"),
        Images("paid by credit, $0.00 on this invoice", 4),
    ]
    assert found.use.earlier == 2
    assert (found.total_micros, found.tax_micros) == (70_000, 0)


def test_no_period_no_statement(alice: Person) -> None:
    assert next_invoice.so_far(alice.organization) is None
    subscribed(alice, period_start=None, period_end=None)
    assert next_invoice.so_far(alice.organization) is None


def test_a_draft_comes_first_and_takes_what_is_carried_and_the_balance(alice: Person) -> None:
    now = timezone.now()
    subscribed(alice, period_start=now - HOUR, period_end=now + 30 * DAY)
    old = made.invoice(
        alice, "ECO-1", period_start=now - 60 * DAY, period_end=now - 31 * DAY, created_at=now
    )
    batch = made.batch(made.used(alice, "512x512", 2, now - 40 * DAY))
    made.claim(old, [batch], stripe_images=3, correction_cents=0)
    made.close(old)
    made.batch(made.used(alice, "512x512", 9, now - DAY))
    made.used(alice, "512x512", 10, now - HOUR / 2, every=timedelta())
    refunds.refund_amount(
        organization=alice.organization, amount_micros=120_000, reason="Torn", by="x"
    )
    draft = made.invoice(
        alice,
        "ECO-2",
        status="draft",
        period_start=now - 31 * DAY,
        period_end=now - HOUR,
    )
    found = statement(draft)
    assert not found.is_final
    assert (found.total_micros, found.due_micros) == (80_000, 0)
    assert found.prices[0].carried == [Figure("Billed too much before", -10_000, None, "ECO-1")]
    after = next_invoice.so_far(alice.organization)
    assert (after.total_micros, after.due_micros) == (100_000, 60_000)
    assert after.prices[0].carried == []


# --- sums -----------------------------------------------------------------------------------------


def random_invoice(alice: Person, dice: random.Random) -> Invoice:
    """An invoice of random lines, credits and payments, some of which contradict each other."""
    march = made.invoice(alice, "ECO-9")
    february = made.invoice(alice, "ECO-8", period_start=MARCH - 28 * DAY, period_end=MARCH)
    for size in dice.sample(["512x512", "768x768", "1024x768", "1024x1024"], 3):
        at = MARCH + DAY * dice.randint(-2, 27)
        batch = made.batch(
            made.used(alice, size, dice.randint(1, 9), at), metered=dice.random() < 0.5
        )
        old = made.batch(made.used(alice, size, dice.randint(1, 3), MARCH - 3 * DAY))
        wrong = made.claim(february, [old], correction_cents=dice.randint(-9, 9))
        line = made.claim(
            march,
            [batch],
            stripe_images=dice.randint(0, 12),
            carried_cents=dice.randint(-5, 5),
            **({} if dice.random() < 0.5 else {"correction_cents": dice.randint(-40, 40)}),
        )
        InvoiceLine.objects.filter(pk=wrong.pk).update(carried_by=line)
        made.used(alice, size, dice.randint(0, 3), at, payer=Hold.Payer.CREDIT)
    made.used(alice, "512x512", 2, APRIL - HOUR)
    made.close(
        march,
        tax=dice.randint(0, 9),
        other=dice.randint(-3, 3),
        credit=dice.randint(0, 9),
        paid=dice.randint(0, 9),
    )
    Invoice.objects.filter(pk=march.pk).update(paid_cents=dice.randint(0, 9))
    if dice.random() < 0.3:
        Invoice.objects.filter(pk=march.pk).update(total_cents=dice.randint(-9, 99))
    return march


@pytest.mark.parametrize("seed", range(8))
def test_the_parts_add_up_to_each_sum(alice: Person, seed: int) -> None:
    row = random_invoice(alice, random.Random(seed))
    found = statement(row)
    row.refresh_from_db()
    for price in found.prices:
        parts = price.exact_micros + price.rounding_micros + price.carried_micros
        assert parts + price.error_micros == price.billed_micros
        assert price.stripe_micros + price.correction_micros == price.billed_micros
        assert price.stripe_images + sum(each.images for each in price.reasons) == price.images
    charged = sum(price.billed_micros for price in found.prices)
    rest = found.other_micros + found.tax_micros + found.unexplained_micros
    assert charged + rest == found.total_micros == row.total_cents * 10_000
    assert found.due_micros == row.due_cents * 10_000
    paid_off = sum(each.micros for each in found.payments if each.words != "Written off")
    assert paid_off == row.paid_cents * 10_000
    assert found.open_micros == found.due_micros - paid_off
    assert sum(part.images for part in found.use.paid) == found.use.images
    assert sum(found.use.by_size.values()) == found.use.images
