"""Two checkouts are completed: one subscription is kept, the surplus one ends without an invoice."""

import pytest

from billing.gateway import checkout as hosted_checkout
from billing.gateway import subscriptions as at_stripe
from billing.gateway.errors import StripeAway
from billing.models import Notice, Subscription
from billing.subscriptions import checkout, items, syncing
from tests.cast import Person
from tests.payment import buy, deliver, report
from tests.stripe_sandbox import StripeSandbox


def row_of(person: Person) -> Subscription:
    return Subscription.objects.get(pk=person.organization.pk)


def begin_two(person: Person) -> tuple[str, str]:
    """Two tabs, each with a page of its own."""
    checkout.begin(organization=person.organization, email=person.user.email)
    row = row_of(person)
    second = hosted_checkout.begin(
        customer_id=str(row.customer_id),
        reference=str(row.reference),
        price_ids=[metered.stripe_price_id for metered in items.prices_on_offer()],
        success_url="https://example.com/",
        cancel_url="https://example.com/",
    )
    return row.checkout_id, second.id


def complete_two(person: Person, sandbox: StripeSandbox) -> tuple[str, str]:
    """Both of them; returns the subscriptions, the first one first."""
    for session in begin_two(person):
        sandbox.complete_checkout(session)
    newest, oldest = at_stripe.all_of(str(row_of(person).customer_id))
    return oldest.id, newest.id


def test_the_first_one_is_kept_and_the_other_ends_without_an_invoice(
    unfunded: Person, stripe_here: StripeSandbox
) -> None:
    kept, surplus = complete_two(unfunded, stripe_here)
    deliver(stripe_here)
    assert row_of(unfunded).subscription_id == kept
    buy(unfunded, images=3)
    report()
    deliver(stripe_here)
    client = stripe_here.client().v1
    assert client.subscriptions.retrieve(kept).status == "active"
    assert client.subscriptions.retrieve(surplus).status == "canceled"
    # The empty one that each subscription begins with.
    invoices = client.invoices.list({"subscription": surplus}).data
    assert [invoice.total for invoice in invoices] == [0]
    told = Notice.objects.get(organization=None)
    assert (told.kind, told.subject, told.facts["kept"]) == ("second_subscription", surplus, kept)


def test_use_that_both_count_is_billed_by_the_kept_one_alone(
    subscriber: Person, stripe_here: StripeSandbox
) -> None:
    """The surplus subscription was live while images were delivered."""
    row = row_of(subscriber)
    price = items.prices_on_offer()[0].stripe_price_id
    client = stripe_here.client().v1
    card = client.payment_methods.attach("pm_card_visa", {"customer": row.customer_id})
    extra = client.subscriptions.create(
        {
            "customer": str(row.customer_id),
            "items": [{"price": price}],
            "default_payment_method": card.id,
        }
    )
    buy(subscriber, images=3)
    report()
    syncing.sync(row)
    assert client.subscriptions.retrieve(extra.id).status == "canceled"
    assert {each.total for each in client.invoices.list({"subscription": extra.id}).data} <= {0}
    assert row_of(subscriber).subscription_id == row.subscription_id


def test_two_processes_that_see_both_never_end_one_each(
    unfunded: Person, stripe_here: StripeSandbox
) -> None:
    """One of them has seen the newer one alone, and written it."""
    kept, surplus = complete_two(unfunded, stripe_here)
    before = row_of(unfunded)
    states = at_stripe.all_of(str(before.customer_id))
    assert syncing._current(before, states) == states[-1]
    assert syncing._write(before, states[0])
    # A process that began with the old row would choose the other one, and must not act on it.
    assert not syncing._write(before, syncing._current(before, states))
    row = syncing.sync(before)
    assert row.subscription_id == surplus
    client = stripe_here.client().v1
    assert client.subscriptions.retrieve(kept).status == "canceled"
    assert client.subscriptions.retrieve(surplus).status == "active"


def test_one_that_cannot_be_ended_now_is_ended_by_a_later_sync(
    unfunded: Person, stripe_here: StripeSandbox, one_try: None
) -> None:
    _, surplus = complete_two(unfunded, stripe_here)
    stripe_here.fault(
        "500_unstored", path=f"/v1/subscriptions/{surplus}$", method="DELETE", times=1
    )
    with pytest.raises(StripeAway):
        syncing.sync(row_of(unfunded))
    assert row_of(unfunded).is_live
    syncing.sync(row_of(unfunded))
    assert stripe_here.client().v1.subscriptions.retrieve(surplus).status == "canceled"
    assert Notice.objects.filter(kind="second_subscription").count() == 1


def test_a_page_that_was_completed_a_moment_ago_begins_no_second(
    unfunded: Person, stripe_here: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.begin(organization=unfunded.organization, email="tabs@example.com")
    first = row_of(unfunded)
    expire = hosted_checkout.expire

    def complete_first(checkout_id: str) -> bool:
        stripe_here.complete_checkout(checkout_id)
        return expire(checkout_id)

    monkeypatch.setattr(hosted_checkout, "expire", complete_first)
    with pytest.raises(checkout.AlreadySubscribed):
        checkout.begin(organization=unfunded.organization, email="tabs@example.com")
    assert len(at_stripe.all_of(str(first.customer_id))) == 1
