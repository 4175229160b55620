"""Invoices: lines, rounding, payment and its failures, invoice items."""

import pytest

from tools.stripe_sandbox.invoices import lines
from tools.stripe_sandbox.tests.conftest import Shop
from tools.stripe_sandbox.tests.pages.test_pages import visit


@pytest.mark.parametrize(
    ("quantity", "unit", "cents"),
    [(25, "2", 50), (1, "0.5", 1), (1, "0.49", 0), (3, "0.5", 2), (0, "7", 0), (7, "0.0125", 0)],
)
def test_a_line_is_rounded_half_up_once(quantity: int, unit: str, cents: int) -> None:
    assert lines.cents(quantity, unit) == cents


def test_a_paid_invoice_tells_what_was_used_and_by_which_charge(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.use(100)
    key = shop.bill(subscription.id)["id"]
    invoice = shop.api.invoices.retrieve(key, {"expand": ["payments"]})
    (line,) = invoice.lines.data
    assert (line.quantity, line.amount) == (100, 200)
    assert line.pricing.price_details.price == shop.price.id
    assert line.parent.subscription_item_details.subscription == subscription.id
    assert invoice.parent.subscription_details.subscription == subscription.id
    assert (invoice.status, invoice.amount_paid, invoice.amount_remaining) == ("paid", 200, 0)
    assert invoice.status_transitions.paid_at and invoice.effective_at and invoice.number
    intent = invoice.payments.data[0].payment.payment_intent
    (charge,) = shop.api.charges.list({"payment_intent": intent}).data
    assert (charge.amount, charge.status, charge.customer) == (200, "succeeded", shop.customer.id)
    assert shop.kinds()[-3:] == ["invoice.finalized", "charge.succeeded", "invoice.paid"]


def test_a_price_that_nobody_used_keeps_its_line(shop: Shop) -> None:
    invoice = shop.bill(shop.subscribe().id)
    assert [(line["quantity"], line["amount"]) for line in invoice["lines"]["data"]] == [(0, 0)]
    assert invoice["status"] == "paid"
    assert shop.api.charges.list().data == []


def test_a_card_that_fails_makes_the_subscription_past_due_until_it_is_paid(shop: Shop) -> None:
    subscription = shop.subscribe("4000000000000341")
    shop.owe(200)
    invoice = shop.bill(subscription.id)
    assert (invoice["status"], invoice["attempt_count"]) == ("open", 1)
    assert invoice["next_payment_attempt"]
    assert shop.kinds()[-3:] == [
        "charge.failed",
        "invoice.payment_failed",
        "customer.subscription.updated",
    ]
    assert shop.api.subscriptions.retrieve(subscription.id).status == "past_due"
    assert shop.sandbox.retry_payment(invoice["id"])["attempt_count"] == 2
    assert visit(invoice["hosted_invoice_url"], card="4000000000000341")[0] == 402
    assert shop.api.invoices.retrieve(invoice["id"]).attempt_count == 3
    visit(invoice["hosted_invoice_url"], card="4242424242424242")
    assert shop.api.subscriptions.retrieve(subscription.id).status == "active"


def test_the_newest_invoice_decides_whether_the_subscription_is_past_due(shop: Shop) -> None:
    subscription = shop.subscribe("4000000000000341")
    pages = []
    for _ in range(2):
        shop.owe(200)
        pages.append(shop.bill(subscription.id)["hosted_invoice_url"])
    for page, status in zip(pages, ("past_due", "active"), strict=True):
        visit(page, card="4242424242424242")
        assert shop.api.subscriptions.retrieve(subscription.id).status == status


def test_giving_up_leaves_it_unpaid_and_its_next_invoices_drafts(shop: Shop) -> None:
    subscription = shop.subscribe("4000000000000341")
    shop.owe(200)
    first = shop.bill(subscription.id)
    shop.sandbox.give_up(subscription.id)
    assert shop.api.subscriptions.retrieve(subscription.id).status == "unpaid"
    assert not shop.sandbox.end_period(subscription.id)["auto_advance"]
    visit(first["hosted_invoice_url"], card="4242424242424242")
    assert shop.api.subscriptions.retrieve(subscription.id).status == "active"


def test_a_card_may_want_its_owner(shop: Shop) -> None:
    subscription = shop.subscribe("4000002760003184")
    shop.owe(200)
    invoice = shop.bill(subscription.id)
    assert invoice["status"] == "open"
    assert "invoice.payment_action_required" in shop.kinds()
    visit(invoice["hosted_invoice_url"], card="4000002760003184")
    assert shop.api.invoices.retrieve(invoice["id"]).status == "paid"


def test_a_final_invoice_is_final(shop: Shop) -> None:
    invoice = shop.bill(shop.subscribe().id)
    with pytest.raises(AssertionError, match="invoice_not_editable"):
        shop.sandbox.finalize(invoice["id"])


def test_invoice_items_wait_for_the_next_invoice(shop: Shop) -> None:
    subscription = shop.subscribe()
    params = {"customer": shop.customer.id, "amount": 700, "currency": "usd", "description": "late"}
    shop.api.invoice_items.create(params)
    assert len(shop.api.invoice_items.list({"pending": True}).data) == 1
    draft = shop.sandbox.end_period(subscription.id)
    assert draft["total"] == 700
    assert shop.api.invoice_items.list({"pending": True}).data == []


def test_an_invoice_without_a_subscription(shop: Shop) -> None:
    params = {
        "customer": shop.customer.id,
        "quantity": 40,
        "unit_amount_decimal": "2.5",
        "currency": "usd",
    }
    shop.api.invoice_items.create(params)
    invoice = shop.api.invoices.create(
        {"customer": shop.customer.id, "pending_invoice_items_behavior": "include"}
    )
    shop.api.invoice_items.create(params | {"invoice": invoice.id})
    final = shop.sandbox.finalize(invoice.id)
    assert (final["status"], final["total"], final["billing_reason"]) == ("open", 200, "manual")
    found = shop.api.invoices.line_items.list(invoice.id, {"limit": 1})
    assert [line.quantity for line in found.auto_paging_iter()] == [40, 40]


def test_lists_are_filtered(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.sandbox.end_period(subscription.id)
    for params, count in (
        ({"status": "draft"}, 1),
        ({"status": "paid"}, 1),
        ({"customer": shop.customer.id}, 2),
        ({"subscription": subscription.id}, 2),
        ({"customer": "cus_none"}, 0),
    ):
        assert len(shop.api.invoices.list(params).data) == count


def test_an_invoice_that_cannot_be_finalized_stays_a_draft(shop: Shop) -> None:
    draft = shop.sandbox.end_period(shop.subscribe().id)
    shop.sandbox.fail_finalization(draft["id"])
    assert shop.kinds()[-1] == "invoice.finalization_failed"
    assert shop.sandbox.finalize(draft["id"])["status"] == "paid"


def test_without_a_card_nothing_is_charged(shop: Shop) -> None:
    items = [{"price": shop.price.id}]
    subscription = shop.api.subscriptions.create({"customer": shop.customer.id, "items": items})
    shop.owe(200)
    assert shop.bill(subscription.id)["status"] == "open"
    assert shop.api.charges.list().data == []
    assert "invoice.payment_failed" in shop.kinds()
