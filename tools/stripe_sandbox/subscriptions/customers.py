"""Customers, and the balance that is settled with their next invoice."""

import secrets

from tools.stripe_sandbox.invoices import balances, cards, invoices, subscription_status
from tools.stripe_sandbox.state import documents, events
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.store import Document
from tools.stripe_sandbox.subscriptions import periods

PLAIN = (
    *("address", "business_name", "description", "email", "metadata", "name", "phone"),
    *("preferred_locales", "tax_exempt"),
)


def create(call: Call) -> Document:
    customer = documents.new_object(
        "customer",
        "cus",
        address=None,
        balance=0,
        currency=None,
        default_source=None,
        _deleted=False,
        delinquent=False,
        description=None,
        discount=None,
        email=None,
        invoice_prefix=secrets.token_hex(4).upper(),
        invoice_settings={
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        name=None,
        next_invoice_sequence=1,
        phone=None,
        preferred_locales=[],
        shipping=None,
        tax_exempt="none",
        test_clock=None,
    )
    documents.update(customer, call.params, *PLAIN)
    call.db.add(customer, customer["created"])
    if given := call.params.get("payment_method"):
        cards.attach_to(call.db, given, customer["id"])
    _take_invoice_settings(call, customer)
    call.db.save(customer)
    events.emit(call.db, "customer.created", customer)
    return customer


def retrieve(call: Call) -> Document:
    """The customer; a deleted one has only its id and `deleted`."""
    customer = call.db.get("customer", call.args["id"])
    if customer["_deleted"]:
        return documents.stump(customer)
    return customer


def _addressed(call: Call) -> Document:
    return documents.existing(call.db, "customer", call.args["id"], "id")


def _take_invoice_settings(call: Call, customer: Document) -> None:
    """The card that pays must be one of theirs."""
    given = call.params.get("invoice_settings", {})
    if key := given.get("default_payment_method"):
        cards.of_customer(call.db, key, customer["id"], "invoice_settings[default_payment_method]")
    documents.update(customer["invoice_settings"], given, *given)


def update(call: Call) -> Document:
    customer = _addressed(call)
    documents.update(customer, call.params, *PLAIN)
    _take_invoice_settings(call, customer)
    events.emit(call.db, "customer.updated", call.db.save(customer))
    return customer


def delete(call: Call) -> Document:
    """For good; subscriptions end at once, what they have not billed is lost, and nobody is charged again."""
    customer = _addressed(call)
    for subscription in call.db.find("subscription", customer=customer["id"]):
        if subscription["status"] not in subscription_status.ENDED:
            periods.end_subscription(call.db, subscription)
    for invoice in call.db.find("invoice", customer=customer["id"], status=["draft", "open"]):
        invoices.advance_by_itself(invoice, wanted=False)
        call.db.save(invoice)
    events.emit(call.db, "customer.deleted", customer)
    call.db.save({**customer, "_deleted": True})
    return documents.stump(customer)


def listed(call: Call) -> Document:
    return documents.page(
        call.db,
        "customer",
        call.params,
        "/v1/customers",
        email=call.params.get("email"),
        _deleted=False,
    )


def change_balance(call: Call) -> Document:
    """A negative amount is a credit: it lowers what the next finalized invoice asks for."""
    return balances.book(
        call.db,
        _addressed(call),
        call.params["amount"],
        kind="adjustment",
        currency=call.params["currency"],
        description=call.params.get("description") or None,
        metadata=call.params.get("metadata") or {},
    )


def list_balance(call: Call) -> Document:
    key = _addressed(call)["id"]
    url = f"/v1/customers/{key}/balance_transactions"
    kind = "customer_balance_transaction"
    return documents.page(call.db, kind, call.params, url, customer=key)
