"""The cast, and browsers without scripts in which they are signed in."""

import pytest
from django.test import Client

from tests.cast import Person, alice, bob, charlie, pauper

__all__ = ["alice", "alices", "bob", "bobs", "charlie", "charlies", "pauper", "paupers"]


def signed_in(person: Person) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(
        person.user, backend="allauth.account.auth_backends.AuthenticationBackend"
    )
    return client


@pytest.fixture
def alices(alice: Person) -> Client:
    return signed_in(alice)


@pytest.fixture
def bobs(bob: Person) -> Client:
    return signed_in(bob)


@pytest.fixture
def charlies(charlie: Person) -> Client:
    return signed_in(charlie)


@pytest.fixture
def paupers(pauper: Person) -> Client:
    return signed_in(pauper)
