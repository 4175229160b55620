"""Invoices that a caller holds, makes final, gives up or deletes."""

from typing import Any

import pytest

from tools.stripe_sandbox.tests.conftest import Shop, refusal


def draft(shop: Shop, cents: int = 200, card: str = "4242424242424242") -> Any:
    """Of a period of a new subscription, with that many cents in it."""
    subscription = shop.subscribe(card)
    shop.owe(cents)
    return shop.api.invoices.retrieve(shop.sandbox.end_period(subscription.id)["id"])


def test_a_draft_is_held_and_let_go_again(shop: Shop) -> None:
    invoice = draft(shop)
    assert invoice.automatically_finalizes_at
    params = {"auto_advance": False, "description": "held", "metadata": {"held": "yes"}}
    held = shop.api.invoices.update(invoice.id, params)
    assert (held.auto_advance, held.automatically_finalizes_at) == (False, None)
    assert (held.next_payment_attempt, held.description) == (None, "held")
    assert held.metadata["held"] == "yes" and shop.kinds()[-1] == "invoice.updated"
    again = shop.api.invoices.update(invoice.id, {"auto_advance": True})
    assert again.automatically_finalizes_at >= invoice.automatically_finalizes_at
    at = again.automatically_finalizes_at + 60
    later = shop.api.invoices.update(invoice.id, {"automatically_finalizes_at": at})
    assert later.automatically_finalizes_at == at
    with refusal(param="automatically_finalizes_at"):
        shop.api.invoices.update(invoice.id, {"automatically_finalizes_at": 1_000})


def test_auto_advance_tells_whether_a_finalized_invoice_is_collected(shop: Shop) -> None:
    first = shop.api.invoices.finalize_invoice(draft(shop).id, {"auto_advance": True})
    assert (first.status, first.amount_paid) == ("paid", 200)
    subscription = first.parent.subscription_details.subscription
    shop.owe(300)
    key = shop.sandbox.end_period(subscription)["id"]
    second = shop.api.invoices.finalize_invoice(key, {"auto_advance": False})
    assert (second.status, second.amount_remaining) == ("open", 300)
    assert (second.attempted, second.next_payment_attempt) == (False, None)
    assert shop.kinds()[-1] == "invoice.finalized"
    with refusal(code="invoice_not_editable"):
        shop.api.invoices.finalize_invoice(key)


def test_a_final_invoice_takes_metadata_and_little_else(shop: Shop) -> None:
    key = shop.sandbox.finalize(draft(shop).id)["id"]
    assert shop.api.invoices.update(key, {"metadata": {"a": "b"}}).metadata["a"] == "b"
    with refusal(code="invoice_not_editable", param="description"):
        shop.api.invoices.update(key, {"description": "other"})
    with refusal(code="invoice_not_editable"):
        shop.api.invoices.update(key, {"auto_advance": True})


def test_a_voided_invoice_gives_back_what_it_took_of_the_balance(shop: Shop) -> None:
    shop.api.customers.balance_transactions.create(
        shop.customer.id, {"amount": -150, "currency": "usd"}
    )
    invoice = draft(shop, 300, "4000000000000341")
    assert shop.sandbox.finalize(invoice.id)["amount_due"] == 150
    voided = shop.api.invoices.void_invoice(invoice.id)
    assert voided.status == "void" and voided.status_transitions.voided_at
    assert shop.kinds()[-1] == "invoice.voided"
    assert shop.api.customers.retrieve(shop.customer.id).balance == -150
    for verb in (
        shop.api.invoices.void_invoice,
        shop.api.invoices.mark_uncollectible,
        shop.api.invoices.pay,
    ):
        with refusal(code="invoice_not_editable"):
            verb(invoice.id)


def test_an_uncollectible_invoice_can_be_paid_late(shop: Shop) -> None:
    invoice = draft(shop, 300, "4000000000000341")
    with refusal(code="invoice_not_editable"):
        shop.api.invoices.mark_uncollectible(invoice.id)
    shop.sandbox.finalize(invoice.id)
    given_up = shop.api.invoices.mark_uncollectible(invoice.id)
    assert (given_up.status, given_up.next_payment_attempt) == ("uncollectible", None)
    assert shop.kinds()[-1] == "invoice.marked_uncollectible"
    card = shop.api.payment_methods.attach("pm_card_visa", {"customer": shop.customer.id})
    paid = shop.api.invoices.pay(invoice.id, {"payment_method": card.id})
    assert (paid.status, paid.amount_paid) == ("paid", 300)
    assert "invoice.paid" in shop.kinds()


def test_only_a_one_off_draft_can_be_deleted(shop: Shop) -> None:
    with refusal(code="invoice_not_editable"):
        shop.api.invoices.delete(draft(shop).id)
    shop.owe(100)
    made = shop.api.invoices.create(
        {"customer": shop.customer.id, "pending_invoice_items_behavior": "include"}
    )
    item = {"customer": shop.customer.id, "amount": 50, "currency": "usd", "invoice": made.id}
    shop.api.invoice_items.create(item)
    assert shop.api.invoices.delete(made.id).deleted
    assert shop.kinds()[-1] == "invoice.deleted"
    with refusal(code="resource_missing"):
        shop.api.invoices.retrieve(made.id)
    (waiting,) = shop.api.invoice_items.list({"customer": shop.customer.id, "pending": True}).data
    assert waiting.amount == 100


@pytest.mark.parametrize("behavior", ["exclude", None])
def test_a_new_invoice_leaves_pending_items_alone(shop: Shop, behavior: str | None) -> None:
    shop.owe(100)
    params = {"customer": shop.customer.id, "auto_advance": False}
    if behavior:
        params["pending_invoice_items_behavior"] = behavior
    invoice = shop.api.invoices.create(params)
    assert (invoice.total, invoice.automatically_finalizes_at) == (0, None)
