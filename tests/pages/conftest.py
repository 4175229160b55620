"""Browsers without scripts, in which one of the cast is signed in."""

import pytest
from django.test import Client

from tests.cast import Person
from tests.payment import stripe_here
from tests.stripe_sandbox import sandbox, sandbox_server

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
