"""Customers, cards and balances."""

import pytest
import stripe

from tools.stripe_sandbox.tests.conftest import Shop, refusal


def test_a_deleted_customer_is_a_stump_and_its_subscription_ends(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.api.customers.delete(shop.customer.id)
    found = shop.api.customers.retrieve(shop.customer.id)
    assert found.deleted and not hasattr(found, "email")
    assert shop.api.subscriptions.retrieve(subscription.id).status == "canceled"
    assert shop.kinds()[-2:] == ["customer.subscription.deleted", "customer.deleted"]
    with refusal(code="resource_missing", param="customer"):
        shop.checkout()
    assert shop.api.customers.list().data == []


def test_nothing_new_is_made_for_a_deleted_customer(shop: Shop) -> None:
    subscription = shop.subscribe("4000000000000341")
    shop.owe(200)
    key = shop.bill(subscription.id)["id"]
    shop.api.customers.delete(shop.customer.id)
    of_it = {"customer": shop.customer.id, "currency": "usd", "amount": 5}
    with refusal(code="resource_missing", param="customer"):
        shop.api.invoices.create({"customer": shop.customer.id})
    with refusal(code="resource_missing", param="customer"):
        shop.api.invoice_items.create(of_it)
    with refusal(code="resource_missing", param="id"):
        shop.api.customers.balance_transactions.create(
            shop.customer.id, {"amount": 5, "currency": "usd"}
        )
    with refusal(code="resource_missing", param="id"):
        shop.api.customers.delete(shop.customer.id)
    with refusal(code="resource_missing", param="customer"):
        shop.api.payment_methods.attach("pm_card_visa", {"customer": shop.customer.id})
    invoice = shop.api.invoices.retrieve(key, {"expand": ["customer"]})
    assert (invoice.status, invoice.next_payment_attempt) == ("open", None)
    assert invoice.customer.deleted and not hasattr(invoice.customer, "email")
    shop.use(1)
    assert shop.sandbox.usage()["rejected"] == 1


def test_a_canceled_subscription_has_its_open_invoices_charged_no_more(shop: Shop) -> None:
    subscription = shop.subscribe("4000000000000341")
    shop.owe(200)
    key = shop.bill(subscription.id)["id"]
    shop.api.subscriptions.cancel(subscription.id, {"invoice_now": False})
    assert len(shop.api.invoices.list({"customer": shop.customer.id}).data) == 2
    shop.sandbox.advance(30 * 86_400)
    invoice = shop.api.invoices.retrieve(key)
    assert (invoice.attempt_count, invoice.auto_advance) == (1, False)


def test_a_test_card_becomes_a_card_of_the_customer(shop: Shop) -> None:
    card = shop.api.payment_methods.attach("pm_card_visa", {"customer": shop.customer.id})
    assert card.id != "pm_card_visa" and card.card.last4 == "4242"
    assert card.customer == shop.customer.id


def test_metadata_is_merged_and_shown_as_it_was_given(shop: Shop) -> None:
    key, update = shop.subscribe().id, shop.api.subscriptions.update
    update(key, {"metadata": {"_own": "1", "object": "x", "gone": "2"}})
    changed = update(key, {"metadata": {"gone": ""}})
    assert changed.metadata.to_dict() == {"_own": "1", "object": "x"}


def test_a_card_that_is_declined_is_not_attached(shop: Shop) -> None:
    with pytest.raises(stripe.CardError) as caught:
        shop.api.payment_methods.attach("pm_card_chargeDeclined", {"customer": shop.customer.id})
    assert caught.value.code == "card_declined" and caught.value.http_status == 402


def test_a_customer_is_not_made_with_a_card_that_is_declined(shop: Shop) -> None:
    with pytest.raises(stripe.CardError):
        shop.api.customers.create({"payment_method": "pm_card_chargeDeclined"})
    assert [each.id for each in shop.api.customers.list().data] == [shop.customer.id]


def test_another_customers_card_is_no_default(shop: Shop) -> None:
    card = shop.api.payment_methods.attach("pm_card_visa", {"customer": shop.customer.id})
    with refusal(code="resource_missing"):
        shop.api.customers.create({"invoice_settings": {"default_payment_method": card.id}})


def test_a_credit_lowers_the_next_invoice(shop: Shop) -> None:
    subscription = shop.subscribe()
    credit = {"amount": -500, "currency": "usd", "description": "sorry"}
    shop.api.customers.balance_transactions.create(shop.customer.id, credit)
    shop.owe(1000)
    invoice = shop.bill(subscription.id)
    assert (invoice["total"], invoice["amount_due"], invoice["amount_paid"]) == (1000, 500, 500)
    assert (invoice["starting_balance"], invoice["ending_balance"]) == (-500, 0)
    booked = shop.api.customers.balance_transactions.list(shop.customer.id).data
    assert [(each.type, each.amount) for each in booked] == [
        ("applied_to_invoice", 500),
        ("adjustment", -500),
    ]


def test_less_than_the_least_charge_is_carried_over(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.owe(48)
    small = shop.bill(subscription.id)
    assert (small["status"], small["total"], small["amount_due"]) == ("paid", 48, 0)
    assert shop.api.charges.list({"customer": shop.customer.id}).data == []
    shop.owe(20)
    assert shop.bill(subscription.id)["amount_paid"] == 68


def test_a_customers_name_and_address_can_change(shop: Shop) -> None:
    changed = shop.api.customers.update(
        shop.customer.id, {"name": "Ann", "email": "ann@example.com"}
    )
    assert (changed.name, changed.email) == ("Ann", "ann@example.com")
    assert shop.api.customers.retrieve(shop.customer.id).name == "Ann"
    assert shop.kinds()[-1] == "customer.updated"
