"""Trial credit comes with the verified address, once for a mailbox and a few times for a network."""

import importlib
from functools import partial
from ipaddress import ip_address

import pytest
from allauth.account.models import EmailAddress
from django.apps import apps
from django.test import Client

from accounts.models import Membership, Organization, User
from billing.ledger import grants, trial
from billing.models import Credit, LedgerEntry, Trial, TrialNetwork
from ecohash.signup import create_account
from tests.accounts.entrance import PASSWORD, join, link_of, sign_up
from tests.at_once import at_once
from tests.cast import Person

OTHER_PEPPER = "another pepper of thirty-two characters"


@pytest.fixture(autouse=True)
def _few_a_day(settings) -> None:
    settings.TRIAL_CREDITS_PER_ADDRESS_PER_DAY = 5
    settings.TRIAL_CREDITS_PER_NETWORK_PER_DAY = 20


def granted(organization: Organization) -> int:
    return Credit.objects.get(organization=organization).granted_micros


def open_link(client: Client, email: str, address: str = "192.0.2.1") -> str:
    return client.post(link_of(email), REMOTE_ADDR=address)["Location"]


def test_a_sign_up_has_credit_once_its_address_is_verified(db: None, settings) -> None:
    client = sign_up("dora@example.com")
    organization = Organization.objects.get()
    assert granted(organization) == 0
    assert not LedgerEntry.objects.exists()
    assert open_link(client, "dora@example.com") == "/dashboard"
    assert granted(organization) == settings.TRIAL_CREDIT_MICROS
    assert LedgerEntry.objects.get().reason == "Trial credit at sign-up"
    assert "of credit is waiting for you" in client.get("/dashboard").content.decode()


def test_sixty_names_of_one_mailbox_have_it_once(db: None, settings) -> None:
    settings.SIGN_UPS_PER_ADDRESS_PER_HOUR = 100
    settings.TRIAL_CREDITS_PER_ADDRESS_PER_DAY = 0
    settings.TRIAL_CREDITS_PER_NETWORK_PER_DAY = 0
    for number in range(60):
        join(f"na.me+{number}@gmail.com")
    assert LedgerEntry.objects.count() == 1
    assert Credit.objects.filter(granted_micros__gt=0).count() == 1
    assert Trial.objects.filter(outcome="mailbox_used").count() == 59


@pytest.mark.django_db(transaction=True)
def test_names_of_one_mailbox_verified_at_once_have_it_once() -> None:
    emails = [f"name+{number}@example.com" for number in range(6)]
    clients = [sign_up(email) for email in emails]
    calls = [partial(open_link, *pair) for pair in zip(clients, emails, strict=True)]
    assert at_once(*calls) == ["/dashboard"] * 6
    assert LedgerEntry.objects.count() == 1
    assert Trial.objects.filter(outcome="mailbox_used").count() == 5


@pytest.mark.django_db(transaction=True)
def test_one_link_opened_several_times_at_once_brings_it_once(settings) -> None:
    sign_up("dora@example.com")
    link = link_of("dora@example.com")
    answers = at_once(*[partial(Client().post, link) for _ in range(5)])
    assert {answer.status_code for answer in answers} <= {302, 404}
    assert LedgerEntry.objects.count() == 1
    assert granted(Organization.objects.get()) == settings.TRIAL_CREDIT_MICROS


@pytest.mark.django_db(transaction=True)
def test_an_organization_is_decided_once() -> None:
    """Two requests may both see an address that is not verified yet."""
    sign_up("dora@example.com")
    organization = Organization.objects.get()
    call = partial(trial.decide, organization=organization, email="dora@example.com", address=None)
    rows = at_once(*[call] * 4)
    assert {row.pk for row in rows} == {Trial.objects.get().pk}
    assert LedgerEntry.objects.count() == 1


def decide(number: int, address: str) -> str:
    """What becomes of a new organization whose owner verified from there."""
    user = User.objects.create_user(f"{number}@example.com")
    organization = Organization.objects.create(name=str(number))
    Membership.objects.create(organization=organization, user=user, role="owner")
    grants.create_credit(organization=organization, trial_credit_micros=0)
    email = user.email
    found = trial.decide(organization=organization, email=email, address=ip_address(address))
    assert bool(granted(organization)) == (found.outcome == "granted")
    return found.outcome


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("addresses", [["192.0.2.1"], ["2001:db8::1", "2001:db8::ffff:1"]])
def test_a_network_has_five_a_day_even_at_once(addresses: list[str]) -> None:
    calls = [partial(decide, n, addresses[n % len(addresses)]) for n in range(10)]
    outcomes = at_once(*calls)
    assert sorted(outcomes) == ["granted"] * 5 + ["network_used_up"] * 5
    assert TrialNetwork.objects.order_by().values_list("granted", flat=True).distinct().get() == 5


@pytest.mark.parametrize(
    ("addresses", "outside"),
    [
        ([f"192.0.2.{n}" for n in range(30)], "192.0.3.1"),
        ([f"2001:db8:1:{n}::1" for n in range(30)], "2001:db8:2::1"),
    ],
)
def test_the_network_around_it_has_twenty_a_day(
    db: None, addresses: list[str], outside: str
) -> None:
    outcomes = [decide(number, address) for number, address in enumerate(addresses)]
    assert outcomes == ["granted"] * 20 + ["network_used_up"] * 10
    assert decide(99, outside) == "granted"


def test_yesterdays_count_neither_holds_nor_stays(db: None) -> None:
    for number in range(6):
        decide(number, "192.0.2.1")
    TrialNetwork.objects.update(day="2026-01-01")
    assert decide(7, "192.0.2.1") == "granted"
    assert trial.remove_old_networks() == 2
    assert TrialNetwork.objects.count() == 2


def test_an_operator_may_lift_the_rules(db: None, settings) -> None:
    settings.TRIAL_ONE_PER_MAILBOX = False
    settings.TRIAL_CREDITS_PER_ADDRESS_PER_DAY = 0
    settings.TRIAL_CREDITS_PER_NETWORK_PER_DAY = 0
    settings.SIGN_UPS_PER_ADDRESS_PER_HOUR = 100
    for number in range(25):
        join(f"name+{number}@example.com")
    assert LedgerEntry.objects.count() == 25


def test_without_trial_credit_nothing_is_decided_or_said(db: None, settings) -> None:
    settings.TRIAL_CREDIT_MICROS = 0
    client, organization = join("dora@example.com")
    assert granted(organization) == 0
    assert not Trial.objects.exists()
    assert "No trial credit" not in client.get("/dashboard").content.decode()


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/billing"])
def test_who_has_none_reads_why_and_what_to_do(db: None, path: str) -> None:
    join("name@example.com")
    client, organization = join("name+2@example.com")
    page = client.get(path).content.decode()
    assert "No trial credit was added, because your mailbox has had it before" in page
    assert "add a card" in page
    assert "There is no credit" not in page.split("<section")[0]
    grants.grant(organization=organization, amount_micros=20_000, reason="By hand")
    assert "No trial credit" not in client.get(path).content.decode()


def test_who_comes_from_a_busy_network_reads_that(db: None) -> None:
    for number in range(5):
        decide(number, "192.0.2.1")
    client, _ = join("dora@example.com")
    page = client.get("/dashboard").content.decode()
    assert "too many new accounts from your network have had it today" in page


def test_a_deleted_account_does_not_have_it_again(db: None) -> None:
    join("dora@gmail.com")
    User.objects.get().delete()
    _, again = join("do.ra+2@googlemail.com")
    assert granted(again) == 0
    assert again.trial.outcome == "mailbox_used"


def test_the_row_outlives_the_organization(db: None) -> None:
    organization = Organization.objects.create(name="gone")
    trial.note_granted(organization=organization, email="dora@example.com")
    organization.delete()
    assert Trial.objects.get().organization is None
    assert join("dora@example.com")[1].trial.outcome == "mailbox_used"


def test_an_older_pepper_still_knows_the_mailbox(db: None, settings) -> None:
    join("dora@example.com")
    settings.KEY_PEPPERS = settings.KEY_PEPPERS | {99: OTHER_PEPPER}
    assert join("dora+2@example.com")[1].trial.outcome == "mailbox_used"


def test_create_account_always_grants_and_uses_the_mailbox_up(db: None, settings) -> None:
    for number in range(2):
        create_account(email=f"name+{number}@example.com")
    assert LedgerEntry.objects.count() == 2
    assert join("name@example.com")[1].trial.outcome == "mailbox_used"


def test_credit_in_place_of_the_trial_does_not_use_the_mailbox_up(db: None) -> None:
    create_account(email="name@example.com", credit_micros=0)
    assert not Trial.objects.exists()
    assert join("name+2@example.com")[1].trial.outcome == "granted"


def test_a_second_address_brings_no_credit(db: None) -> None:
    create_account(email="name@example.com", credit_micros=0)
    user = User.objects.get()
    EmailAddress.objects.create(user=user, email="second@example.com")
    client = Client()
    client.force_login(user, "allauth.account.auth_backends.AuthenticationBackend")
    open_link(client, "second@example.com")
    assert EmailAddress.objects.filter(verified=True).count() == 2
    assert not LedgerEntry.objects.exists()


def test_a_member_of_anothers_organization_brings_it_none(alice: Person) -> None:
    user = User.objects.create_user("guest@example.com", PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, primary=True)
    Membership.objects.create(organization=alice.organization, user=user, role="member")
    before = granted(alice.organization)
    open_link(Client(), "guest@example.com")
    assert granted(alice.organization) == before
    assert not Trial.objects.exists()


def of_an_earlier_release(email: str, *, verified: bool) -> Organization:
    """It granted the credit at sign-up and remembered no mailbox."""
    user = User.objects.create_user(email, PASSWORD)
    EmailAddress.objects.create(user=user, email=email, primary=True, verified=verified)
    organization = Organization.objects.create(name=email)
    Membership.objects.create(organization=organization, user=user, role="owner")
    grants.create_credit(organization=organization, trial_credit_micros=500_000)
    return organization


def test_credit_of_an_earlier_release_stays_and_does_not_come_twice(db: None) -> None:
    organization = of_an_earlier_release("old@example.com", verified=False)
    open_link(Client(), "old@example.com")
    assert granted(organization) == 500_000
    assert organization.trial.outcome == "granted"
    assert join("old+2@example.com")[1].trial.outcome == "mailbox_used"


def test_the_migration_remembers_the_mailboxes_that_had_it(db: None) -> None:
    emails = ["old@example.com", "old+2@example.com", "other@gmail.com"]
    organizations = [of_an_earlier_release(email, verified=True) for email in emails]
    name = "billing.migrations.0009_mailboxes_that_had_trial_credit"
    migration = importlib.import_module(name)
    for _ in range(2):
        migration.remember(apps, None)
    assert Trial.objects.count() == 2
    assert [granted(organization) for organization in organizations] == [500_000] * 3
    assert join("oth.er@gmail.com")[1].trial.outcome == "mailbox_used"
    assert join("new@example.com")[1].trial.outcome == "granted"
