"""One customer for each organization, whoever begins, and what is kept of one that was deleted at Stripe."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.gateway.errors import StripeAway
from billing.models import Notice, Subscription, UsageBatch
from billing.reporting import batching, sending
from billing.subscriptions import catalog, checkout, syncing
from tests.at_once import at_once
from tests.cast import Person
from tests.payment import buy, deliver, due_now, subscribe
from tests.stripe_sandbox import StripeSandbox

CUSTOMERS = "^/v1/customers$"


def row_of(person: Person) -> Subscription:
    return Subscription.objects.get(pk=person.organization.pk)


def at_stripe(sandbox: StripeSandbox) -> list[str | None]:
    """The addresses of all customers."""
    return [each.email for each in sandbox.client().v1.customers.list({"limit": 100}).data]


@pytest.mark.parametrize("fault", ["accept_then_drop", "accept_then_500", "500"])
def test_another_member_who_tries_after_a_fault_gets_the_same_customer(
    alice: Person, stripe_here: StripeSandbox, one_try: None, fault: str
) -> None:
    stripe_here.fault(fault, path=CUSTOMERS, method="POST", times=1)
    with pytest.raises(StripeAway):
        checkout.begin(organization=alice.organization, email="alice@example.com")
    checkout.begin(organization=alice.organization, email="anna@example.com")
    assert at_stripe(stripe_here) == ["anna@example.com"]


@pytest.mark.django_db(transaction=True)
def test_two_members_who_begin_at_once_get_one_customer_and_one_open_checkout(
    unfunded: Person, stripe_here: StripeSandbox
) -> None:
    syncing.get_or_create(unfunded.organization)
    catalog.complete()

    def begin(email: str) -> str:
        return checkout.begin(organization=unfunded.organization, email=email)

    results = at_once(lambda: begin("a@example.com"), lambda: begin("b@example.com"))
    assert [each for each in results if isinstance(each, str)]
    assert len(at_stripe(stripe_here)) == 1
    begun = [event["type"] for event in stripe_here.events()].count("checkout.session.expired")
    created = stripe_here.requests()["requests"]["POST /v1/checkout/sessions"]
    assert created - begun == 1


def test_a_customer_whose_description_failed_gets_it_with_the_next_checkout(
    alice: Person, stripe_here: StripeSandbox, one_try: None
) -> None:
    stripe_here.fault("500", path="^/v1/customers/[^/]+$", method="POST", times=1)
    with pytest.raises(StripeAway):
        checkout.begin(organization=alice.organization, email="alice@example.com")
    assert at_stripe(stripe_here) == [None]
    checkout.begin(organization=alice.organization, email="alice@example.com")
    assert at_stripe(stripe_here) == ["alice@example.com"]


def test_what_a_customer_changed_at_stripe_stays(alice: Person, stripe_here: StripeSandbox) -> None:
    checkout.begin(organization=alice.organization, email="alice@example.com")
    stripe_here.client().v1.customers.update(
        str(row_of(alice).customer_id), {"email": "books@example.com"}
    )
    checkout.begin(organization=alice.organization, email="alice@example.com")
    assert at_stripe(stripe_here) == ["books@example.com"]


def test_what_a_deleted_customer_has_not_paid_is_kept_and_told(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    old = row_of(subscriber)
    buy(subscriber, "512x512", 3)
    batching.seal()
    assert sending.send_due()
    buy(subscriber, "1024x1024", 2)
    batching.seal()
    stripe_here.fault("500_unstored", path="/v1/billing/meter_events$", times=1)
    sending.send_due()
    buy(subscriber, "768x768", 1)
    batching.seal()
    buy(subscriber, "512x512", 1)
    stripe_here.client().v1.customers.delete(str(old.customer_id))
    deliver(stripe_here, times=2)
    assert row_of(subscriber).customer_id is None
    assert row_of(subscriber).reference != old.reference
    states = dict(UsageBatch.objects.values_list("price__size", "state"))
    assert states == {"512x512": "unmetered", "1024x1024": "unmetered", "768x768": "sealed"}
    told = Notice.objects.get(organization=None, kind="unbilled_use")
    assert (told.facts["images"], told.facts["micros"]) == (7, 30_000 + 40_000 + 15_000 + 10_000)
    assert told.subject == old.customer_id
    subscribe(subscriber, stripe_here)
    due_now()
    sending.send_due()
    assert not UsageBatch.objects.filter(state="rejected").exists()


def test_a_sender_whose_customer_goes_meanwhile_changes_nothing(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    buy(subscriber)
    batching.seal()
    UsageBatch.objects.update(
        state="sending",
        tries=1,
        customer_id=row_of(subscriber).customer_id,
        timestamp=timezone.now(),
        first_tried_at=timezone.now(),
        claimed_until=timezone.now() + timedelta(minutes=1),
    )
    in_flight = UsageBatch.objects.get()
    syncing.forget_customer(row_of(subscriber))
    assert not in_flight.release("200", state=UsageBatch.State.ACCEPTED)
    assert UsageBatch.objects.get().state == "unmetered"


def test_forgetting_twice_forgets_no_new_customer(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    old = row_of(subscriber)
    stripe_here.client().v1.customers.delete(str(old.customer_id))
    syncing.forget_customer(row_of(subscriber))
    new = subscribe(subscriber, stripe_here)
    assert syncing.forget_customer(old).customer_id == new.customer_id
    assert row_of(subscriber).status == "active"
