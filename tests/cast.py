"""The cast of every test: Alice owns an organization, Bob is a member of it, Charlie is a stranger."""

from dataclasses import dataclass

import pytest
from allauth.account.models import EmailAddress

from accounts.keys import keys
from accounts.models import ApiKey, Membership, Organization, User
from ecohash.signup import sign_up

# 25 pictures of 1024x1024.
CREDIT_MICROS = 500_000


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in and call the API; `secret` is their key as it was shown once."""

    user: User
    organization: Organization
    key: ApiKey
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        """What a client of theirs sends."""
        return {"Authorization": f"Bearer {self.secret}"}


def make_user(name: str) -> User:
    """A user with a verified address. The password is unusable: hashing one takes a third of a second."""
    user = User.objects.create_user(f"{name.lower()}@example.com", first_name=name)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def make_owner(name: str, *, credit_micros: int = CREDIT_MICROS) -> Person:
    """Somebody with an organization of their own."""
    user = make_user(name)
    organization = sign_up(user=user, trial_credit_micros=credit_micros)
    return _with_key(user, organization)


def make_member(name: str, organization: Organization) -> Person:
    """Somebody who belongs to another's organization."""
    user = make_user(name)
    Membership.objects.create(organization=organization, user=user, role=Membership.Role.MEMBER)
    return _with_key(user, organization)


def _with_key(user: User, organization: Organization) -> Person:
    key, secret = keys.mint(organization=organization, name="Laptop", created_by=user)
    return Person(user, organization, key, secret)


@pytest.fixture
def alice(db: None) -> Person:
    """The owner of an organization with credit."""
    return make_owner("Alice")


@pytest.fixture
def bob(alice: Person) -> Person:
    """A member of Alice's organization."""
    return make_member("Bob", alice.organization)


@pytest.fixture
def charlie(db: None) -> Person:
    """A stranger to Alice, with an organization and credit."""
    return make_owner("Charlie")


@pytest.fixture
def unfunded(db: None) -> Person:
    """An organization without credit: its valid requests are refused."""
    return make_owner("Pauper", credit_micros=0)
