"""Browsers without scripts, in which one of the cast is signed in."""

from datetime import date

import pytest
from django.test import Client

from accounts.models import Organization
from billing import refunds
from billing.ledger import trial
from billing.mails import outgoing
from billing.models import BooksCheck, Budget, ClosedMonth, SpendAlert
from billing.reporting import batching, sending
from images.models import Generation
from tests import statements as made
from tests.cast import Person, make_user
from tests.images import make
from tests.payment import stripe_here
from tests.stripe_sandbox import StripeSandbox, sandbox, sandbox_server

__all__ = ["sandbox", "sandbox_server", "stripe_here"]


def signed_in(person: Person) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(person.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


@pytest.fixture
def alice_client(alice: Person) -> Client:
    return signed_in(alice)


@pytest.fixture
def bobs(bob: Person) -> Client:
    return signed_in(bob)


@pytest.fixture
def charlies(charlie: Person) -> Client:
    return signed_in(charlie)


@pytest.fixture
def paupers(unfunded: Person) -> Client:
    return signed_in(unfunded)


@pytest.fixture
def staff(db: None) -> Client:
    """A browser of Stella's, who runs the place."""
    user = make_user("Stella")
    user.is_staff = user.is_superuser = True
    user.save()
    client = signed_in(Person(user, Organization(), None, ""))
    client.raise_request_exception = True
    return client


@pytest.fixture
def world(alice: Person, subscriber: Person, stripe_here: StripeSandbox) -> Generation:
    """A row of everything; returns an image that the subscriber's subscription paid."""
    make.succeeded(alice)
    refunds.refund_image(hold=make.succeeded(alice).hold, reason="Black", by="x@example.com")
    job = make.succeeded(subscriber)
    batching.seal()
    stripe_here.fault("429", path="/v1/billing/meter_events$", method="POST", times=1)
    sending.send_due()
    sending.pause("401")
    budget = Budget.objects.of_organization(subscriber.organization).get()
    SpendAlert.objects.create(
        budget=budget, month=budget.month, percent=80, cap_micros=12_500, spent_micros=10_000
    )
    made.invoice(subscriber, "ECO-1")
    BooksCheck.objects.create()
    ClosedMonth.objects.create(
        month=date(2026, 1, 1),
        holds=1,
        captures=1,
        captured_micros=20_000,
        entries=1,
        checksum="0" * 64,
    )
    trial.note_granted(organization=alice.organization, email=alice.user.email)
    outgoing.write(kind="reset", to=[alice.user.email], subject="Choose", body="A link")
    return job
