"""Invoice items: negative amounts, changes while their invoice is a draft, and what their lines show."""

from pathlib import Path
from typing import Any

import pytest

from tools.stripe_sandbox.invoices import invoice_items
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused
from tools.stripe_sandbox.state.store import Store
from tools.stripe_sandbox.subscriptions import customers
from tools.stripe_sandbox.tests.conftest import Shop, refusal

PERIOD = {"start": 1_700_000_000, "end": 1_700_086_400}


@pytest.fixture
def draft(shop: Shop) -> Any:
    """Of a period in which two dollars fell due."""
    subscription = shop.subscribe()
    shop.owe(200)
    return shop.api.invoices.retrieve(shop.sandbox.end_period(subscription.id)["id"])


def add(shop: Shop, invoice: str, amount: int, **more: Any) -> Any:
    params = {"customer": shop.customer.id, "currency": "usd", "amount": amount, "invoice": invoice}
    return shop.api.invoice_items.create(params | more)


def test_a_negative_item_lowers_a_draft(shop: Shop, draft: Any) -> None:
    item = add(shop, draft.id, -50, metadata={"batch": "7"}, period=PERIOD, description="less")
    invoice = shop.api.invoices.retrieve(draft.id)
    assert (invoice.total, invoice.amount_due) == (150, 150)
    line = invoice.lines.data[-1]
    assert line.parent.invoice_item_details.invoice_item == item.id
    assert (line.amount, line.metadata["batch"], line.description) == (-50, "7", "less")
    assert (line.period.start, line.period.end) == (PERIOD["start"], PERIOD["end"])
    assert shop.kinds()[-2:] == ["invoiceitem.created", "invoice.updated"]
    assert shop.sandbox.finalize(draft.id)["amount_paid"] == 150


def test_a_negative_invoice_becomes_credit(shop: Shop, draft: Any) -> None:
    add(shop, draft.id, -700)
    invoice = shop.api.invoices.finalize_invoice(draft.id)
    assert (invoice.status, invoice.total, invoice.amount_due) == ("paid", -500, 0)
    assert shop.api.customers.retrieve(shop.customer.id).balance == -500
    booked = shop.api.customers.balance_transactions.list(shop.customer.id).data[0]
    assert (booked.amount, booked.invoice) == (-500, draft.id)


def test_a_changed_item_changes_its_draft(shop: Shop, draft: Any) -> None:
    item = add(shop, draft.id, 100)
    line = shop.api.invoices.retrieve(draft.id).lines.data[-1]
    params = {"amount": -30, "description": "other", "metadata": {"a": "b"}, "period": PERIOD}
    changed = shop.api.invoice_items.update(item.id, params)
    assert (changed.amount, changed.metadata["a"]) == (-30, "b")
    assert shop.api.invoice_items.retrieve(item.id).description == "other"
    invoice = shop.api.invoices.retrieve(draft.id)
    last = invoice.lines.data[-1]
    assert (invoice.total, last.id, last.amount, last.description) == (170, line.id, -30, "other")
    assert (last.metadata["a"], last.period.end) == ("b", PERIOD["end"])


def test_a_changed_quantity_keeps_its_price(shop: Shop, draft: Any) -> None:
    params = {"customer": shop.customer.id, "invoice": draft.id, "currency": "usd"}
    item = shop.api.invoice_items.create(params | {"quantity": 10, "unit_amount_decimal": "2.5"})
    assert shop.api.invoice_items.update(item.id, {"quantity": 3}).amount == 8
    assert shop.api.invoices.retrieve(draft.id).total == 208


def test_a_deleted_item_is_in_its_draft_no_more(shop: Shop, draft: Any) -> None:
    item = add(shop, draft.id, 100)
    assert shop.api.invoice_items.list({"invoice": draft.id}).data[0].id == item.id
    assert shop.api.invoice_items.delete(item.id).deleted
    assert shop.api.invoices.retrieve(draft.id).total == 200
    assert len(shop.api.invoice_items.list({"invoice": draft.id}).data) == 1
    with refusal(code="resource_missing"):
        shop.api.invoice_items.retrieve(item.id)


def test_items_of_a_final_invoice_stay_as_they_are(shop: Shop, draft: Any) -> None:
    item = add(shop, draft.id, 100)
    shop.sandbox.finalize(draft.id)
    with refusal(code="invoice_not_editable"):
        shop.api.invoice_items.update(item.id, {"amount": 5})
    with refusal(code="invoice_not_editable"):
        shop.api.invoice_items.delete(item.id)
    with refusal(code="invoice_not_editable"):
        add(shop, draft.id, 5)
    assert len(shop.api.invoice_items.list({"invoice": draft.id}).data) == 2


def test_items_that_do_not_fit_are_refused(shop: Shop, draft: Any) -> None:
    other = shop.api.customers.create({})
    with refusal(param="customer"):
        add(shop, draft.id, 5, customer=other.id)
    with refusal(param="currency"):
        add(shop, draft.id, 5, currency="eur")
    with refusal(param="period[end]"):
        add(shop, draft.id, 5, period={"start": 10, "end": 9})


def test_so_many_items_can_wait_for_an_invoice(tmp_path: Path) -> None:
    with Store(tmp_path / "state.sqlite3").transaction() as db:
        params = {"customer": customers.create(Call(db, {}, {}))["id"], "amount": 1}
        for _ in range(invoice_items.MOST_ITEMS):
            invoice_items.create(Call(db, params, {}))
        with pytest.raises(Refused, match="at most 250"):
            invoice_items.create(Call(db, params, {}))
