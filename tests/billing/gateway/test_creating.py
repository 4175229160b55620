"""A fault in each creation at Stripe: the next try succeeds, and there is one object."""

import ast
import sqlite3
from collections.abc import Callable
from decimal import Decimal

import pytest
import stripe

from billing.gateway import catalog, creating, customers, invoices
from billing.gateway import subscriptions as at_stripe
from billing.gateway.errors import StripeAway, StripeRefused
from billing.gateway.invoices import Correction
from billing.models import CreationKey
from tests import servers
from tests.at_once import at_once
from tests.stripe_sandbox import StripeSandbox

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("one_try")]

REFERENCE = "8a5c2d2e-1111-4222-8333-944444444444"
FAULTS = ("500", "accept_then_500", "accept_then_drop", "500_unstored", "drop_before", "409")


def product() -> None:
    catalog.find_or_create_product(product_id="ecohash_test", name="Test", unit_label="image")


def meter(name: str = "test") -> str:
    return catalog.find_or_create_meter(event_name=name, display_name="Test")[0]


def price(name: str = "test") -> catalog.PriceAtStripe:
    return catalog.find_or_create_price(
        lookup_key=name,
        product_id="ecohash_test",
        meter_id=meter(name),
        cents=Decimal("0.5"),
        nickname="Test",
    )[0]


def portal() -> None:
    catalog.find_or_create_portal(return_url="https://ecohash.example/dashboard/billing")


def customer() -> str:
    return customers.create(reference=REFERENCE)


def credit() -> None:
    customers.give_credit(
        customer_id=customer(), cents=5, description="Refund", reference=REFERENCE
    )


class AtStripe:
    """A subscription of one price, made there by hand."""

    def __init__(self, sandbox: StripeSandbox) -> None:
        client = sandbox.client().v1
        product()
        self.customer = client.customers.create({"email": "sue@example.com"}).id
        card = client.payment_methods.attach("pm_card_visa", {"customer": self.customer})
        self.subscription = client.subscriptions.create(
            {
                "customer": self.customer,
                "items": [{"price": price("other").id}],
                "default_payment_method": card.id,
            }
        ).id

    def item(self) -> None:
        at_stripe.add_item(subscription_id=self.subscription, price_id=price().id)

    def invoice(self) -> str:
        return invoices.create(
            customer_id=self.customer, reference=REFERENCE, subscription_id=self.subscription
        ).id

    def correction(self) -> None:
        invoices.correct(
            self.invoice(), self.customer, [Correction(name="test", cents=-3, description="Test")]
        )


# The address, the kind of object in the sandbox, and how many there are at the end.
CREATIONS: dict[str, tuple[str, str, int]] = {
    "product": ("products", "product", 1),
    "meter": ("billing/meters", "billing.meter", 1),
    "price": ("prices", "price", 1),
    "portal": ("billing_portal/configurations", "billing_portal.configuration", 1),
    "customer": ("customers", "customer", 1),
    "credit": ("customers/[^/]+/balance_transactions", "customer_balance_transaction", 1),
    "item": ("subscription_items", "item", 2),
    "correction": ("invoiceitems", "invoiceitem", 1),
    # The first one is the subscription's.
    "invoice": ("invoices", "invoice", 2),
}


def count(sandbox: StripeSandbox, kind: str) -> int:
    """How many of them the sandbox has."""
    [state] = sandbox.folder.rglob("*.sqlite3")
    query = "SELECT count(*) FROM documents WHERE kind = ?"
    if kind == "item":
        kind = "subscription"
        query = "SELECT sum(json_array_length(body, '$.items.data')) FROM documents WHERE kind = ?"
    connection = sqlite3.connect(state, timeout=10)
    [[found]] = connection.execute(query, (kind,))
    connection.close()
    return int(found)


def creation(name: str, sandbox: StripeSandbox) -> Callable[[], object]:
    """What creates it, when all that it refers to is there."""
    if name == "price":
        product()
    if name in {"item", "invoice", "correction"}:
        return getattr(AtStripe(sandbox), name)
    create: Callable[[], object] = globals()[name]
    return create


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", CREATIONS)
def test_after_one_fault_the_next_try_creates_it_once(
    stripe_here: StripeSandbox, name: str, fault: str
) -> None:
    path, kind, expected = CREATIONS[name]
    create = creation(name, stripe_here)
    stripe_here.fault(fault, path=f"^/v1/{path}$", method="POST", times=1)
    with pytest.raises(StripeAway):
        create()
    create()
    assert count(stripe_here, kind) == expected
    create()
    assert count(stripe_here, kind) == expected


def test_many_faults_in_a_row_are_outlived(stripe_here: StripeSandbox) -> None:
    stripe_here.fault("500", path="^/v1/customers$", method="POST", times=4)
    for _ in range(4):
        with pytest.raises(StripeAway):
            customer()
    assert customer() == customer()
    assert count(stripe_here, "customer") == 1


def test_a_lost_answer_keeps_its_key(stripe_here: StripeSandbox) -> None:
    stripe_here.fault("drop_before", path="^/v1/customers$", method="POST", times=1)
    with pytest.raises(StripeAway):
        customer()
    assert CreationKey.objects.get().number == 1


def test_a_refusal_whose_cause_is_gone_is_not_repeated_for_a_day(
    stripe_here: StripeSandbox,
) -> None:
    """Stripe remembers refusals too."""
    with pytest.raises(StripeRefused, match="No such product"):
        price()
    product()
    price()
    assert count(stripe_here, "price") == 1


def test_other_words_under_a_used_key_are_a_new_creation_at_once(
    stripe_here: StripeSandbox,
) -> None:
    def named(name: str) -> stripe.Customer:
        made, _ = creating.find_or_create(
            "test",
            find=lambda: None,
            create=lambda client, options: client.v1.customers.create({"name": name}, options),
        )
        return made

    stripe_here.fault("accept_then_drop", path="^/v1/customers$", method="POST", times=1)
    with pytest.raises(StripeAway):
        named("Ann")
    assert named("Ben").name == "Ben"
    # The first one is not used, and costs nothing.
    assert count(stripe_here, "customer") == 2


def test_a_customer_whose_key_was_used_up_is_found_without_an_address(
    stripe_here: StripeSandbox,
) -> None:
    """Among others that were made in the meantime, on several pages."""
    stripe_here.fault("accept_then_500", path="^/v1/customers$", method="POST", times=1)
    with pytest.raises(StripeAway):
        customer()
    client = stripe_here.client().v1
    for _ in range(101):
        client.customers.create({})
    assert client.customers.retrieve(customer()).metadata["organization"] == REFERENCE
    assert count(stripe_here, "customer") == 102


def test_what_somebody_has_removed_at_stripe_is_created_again(stripe_here: StripeSandbox) -> None:
    """Its creation is remembered for a day, and would be answered again."""
    there = AtStripe(stripe_here)
    there.item()
    client = stripe_here.client().v1
    [newest] = [
        each
        for each in client.subscription_items.list({"subscription": there.subscription}).data
        if each.price.id == price().id
    ]
    client.subscription_items.delete(newest.id)
    there.item()
    assert count(stripe_here, "item") == 2


@pytest.mark.django_db(transaction=True)
def test_a_key_that_is_in_use_means_later(stripe_here: StripeSandbox) -> None:
    stripe_here.fault("slow", path="^/v1/customers$", method="POST", seconds=0.3, times=1)
    results = at_once(customer, customer, customer)
    assert {type(each) for each in results} <= {str, StripeAway}
    assert len({each for each in results if isinstance(each, str)}) == 1
    assert count(stripe_here, "customer") == 1
    assert CreationKey.objects.get().number == 1


def test_of_two_with_the_same_answer_one_counts_the_key(db: None) -> None:
    for _ in range(2):
        creating._use_up("customer:x", 1)
    assert CreationKey.objects.get().number == 2


def test_two_long_ids_make_a_key_that_stripe_takes() -> None:
    longest = [f"item:{'s' * 255}:{'p' * 254}{n}" for n in range(2)]
    short = {creating._shortened(each) for each in longest}
    assert len(short) == 2 and max(map(len, short)) <= creating.LONGEST_IDENTITY


# Sessions are always new: nobody knows the address of one that a fault has hidden. Usage has rules of its
# own: reporting/sending.py.
WITHOUT_LOOKING = {"begin", "open_portal", "send"}


def test_every_creation_goes_this_way() -> None:
    found = set()
    for path in (servers.ROOT / "billing" / "gateway").glob("*.py"):
        for function in ast.parse(path.read_text()).body:
            if isinstance(function, ast.FunctionDef):
                words = ast.unparse(function)
                if ".create(" in words and "find_or_create(" not in words:
                    found.add(function.name)
    assert found == WITHOUT_LOOKING
