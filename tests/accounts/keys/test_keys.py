"""API keys: their form, their digest, and how long they live."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts import base62
from accounts.keys import key_format, keys, networks, rotation
from accounts.keys.status import KeyNotUsable, Status, rotation_family_of, successor_of, with_status
from accounts.models import ApiKey
from tests.at_once import at_once
from tests.cast import Person

OLD_PEPPER, NEW_PEPPER = "o" * 40, "n" * 40
NARROW: keys.Terms = {
    "may_generate": True,
    "may_read_usage": False,
    "allowed_networks": ["203.0.113.0/24"],
    "requests_per_minute": 60,
    "images_per_minute": 30,
    "images_in_flight": 2,
    "monthly_cap_micros": 1_500_000,
}


def test_a_key_is_a_prefix_random_characters_and_their_checksum(alice: Person) -> None:
    assert alice.secret.startswith("eco_")
    assert len(alice.secret) == 4 + 32 + 6
    assert key_format.is_well_formed(alice.secret)
    assert alice.secret[-6:] == key_format.checksum(alice.secret[4:36])


def test_a_typing_error_is_found_without_the_database(alice: Person) -> None:
    """No database fixture is asked for by `well_formed`: each single wrong character shows."""
    for place in range(4, len(alice.secret)):
        wrong = "A" if alice.secret[place] != "A" else "B"
        assert not key_format.is_well_formed(
            alice.secret[:place] + wrong + alice.secret[place + 1 :]
        )


@pytest.mark.parametrize(
    "text",
    ["", "eco_", "eco_short", "sk-" + "a" * 38, "eco_" + "é" * 38, "eco_" + "٣" * 38, "\x00" * 42],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    assert not key_format.is_well_formed(text)
    assert keys.find(text) is None


def test_a_key_with_a_line_break_behind_it_is_refused(alice: Person) -> None:
    assert not key_format.is_well_formed(alice.secret + "\n")


def test_two_keys_are_never_alike(alice: Person, bob: Person) -> None:
    assert alice.secret != bob.secret
    assert alice.key.digest != bob.key.digest


def test_the_database_holds_a_digest_under_the_pepper_and_not_the_key(
    alice: Person, settings
) -> None:
    row = ApiKey.objects.filter(pk=alice.key.pk).values().get()
    assert alice.secret not in repr(row)
    assert alice.secret[8:-4] not in repr(row)
    assert row["digest"] == key_format.digest(alice.secret, settings.KEY_PEPPERS[1])
    assert row["digest"] != key_format.digest(alice.secret, "another pepper")


def test_a_list_shows_enough_to_recognize_a_key(alice: Person) -> None:
    assert alice.key.hint == f"{alice.secret[:8]}…{alice.secret[-4:]}"


def test_a_new_pepper_makes_new_keys_and_still_knows_the_old_ones(alice: Person, settings) -> None:
    settings.KEY_PEPPERS = {1: OLD_PEPPER}
    _, old = keys.mint(organization=alice.organization, name="Old")
    settings.KEY_PEPPERS = {2: NEW_PEPPER, 1: OLD_PEPPER}
    row, new = keys.mint(organization=alice.organization, name="New")
    assert row.pepper_version == 2
    assert {keys.find(old).name, keys.find(new).name} == {"Old", "New"}
    settings.KEY_PEPPERS = {2: NEW_PEPPER}
    assert keys.find(old) is None
    assert keys.find(new) == row


def test_a_revoked_key_is_shut_at_once_and_for_good(alice: Person, bob: Person) -> None:
    assert keys.find(alice.secret) == alice.key
    assert keys.revoke(alice.key)
    assert keys.find(alice.secret) is None
    assert not keys.revoke(alice.key)
    assert keys.find(bob.secret) == bob.key


def test_last_use_is_remembered_to_the_minute(alice: Person, django_assert_num_queries) -> None:
    keys.note_use(alice.key)
    first = ApiKey.objects.get(pk=alice.key.pk)
    assert timezone.now() - first.last_used_at < timedelta(seconds=5)
    with django_assert_num_queries(0):
        keys.note_use(first)


def test_a_use_a_minute_later_is_remembered_anew(alice: Person) -> None:
    before = timezone.now() - timedelta(seconds=61)
    ApiKey.objects.filter(pk=alice.key.pk).update(last_used_at=before)
    keys.note_use(ApiKey.objects.get(pk=alice.key.pk))
    assert ApiKey.objects.get(pk=alice.key.pk).last_used_at > before


def test_base_62_pads_and_counts() -> None:
    assert base62.encode(0, 6) == "000000"
    assert base62.encode(61, 2) == "0z"
    assert base62.encode(62**6 - 1, 6) == "zzzzzz"
    assert len(base62.random(32)) == 32
    assert set(base62.random(2_000)) == set(base62.ALPHABET)


def test_a_key_is_made_with_the_terms_that_were_asked_for(alice: Person) -> None:
    ends = timezone.now() + timedelta(days=1)
    key, secret = keys.mint(
        organization=alice.organization, name="Narrow", expires_at=ends, **NARROW
    )
    found = keys.find(secret)
    assert found == key
    assert {name: getattr(found, name) for name in NARROW} == NARROW
    assert (found.expires_at, found.scopes) == (ends, ["generate"])


def test_a_key_is_shut_from_the_moment_that_it_expires(alice: Person) -> None:
    ApiKey.objects.filter(pk=alice.key.pk).update(expires_at=timezone.now())
    assert keys.find(alice.secret) is None
    assert keys.recognize(alice.secret) == alice.key


def test_a_rotated_key_works_on_for_the_overlap_beside_its_successor(
    alice: Person, bob: Person
) -> None:
    new, secret = rotation.rotate(key=alice.key, overlap=timedelta(hours=1), created_by=bob.user)
    assert keys.find(secret) == new
    assert keys.find(alice.secret) == alice.key
    alice.key.refresh_from_db()
    left = alice.key.expires_at - timezone.now()
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert (new.name, new.created_by, new.expires_at) == ("Laptop", bob.user, None)


def test_a_rotation_without_overlap_shuts_the_old_key_at_once(alice: Person) -> None:
    rotation.rotate(key=alice.key, overlap=timedelta(0), created_by=None)
    assert keys.find(alice.secret) is None


def test_an_overlap_never_outlives_the_old_keys_own_expiry(alice: Person) -> None:
    ends = timezone.now() + timedelta(hours=1)
    ApiKey.objects.filter(pk=alice.key.pk).update(expires_at=ends)
    rotation.rotate(key=alice.key, overlap=timedelta(days=7), created_by=None)
    alice.key.refresh_from_db()
    assert alice.key.expires_at == ends


def test_a_line_of_rotations_keeps_its_terms_and_its_first_key(alice: Person) -> None:
    first, _ = keys.mint(organization=alice.organization, name="Line", **NARROW)
    second, _ = rotation.rotate(key=first, overlap=timedelta(hours=1), created_by=None)
    third, _ = rotation.rotate(key=second, overlap=timedelta(hours=1), created_by=None)
    assert [key.family_id for key in (first, second, third)] == [first.pk] * 3
    assert {name: getattr(third, name) for name in NARROW} == NARROW
    assert successor_of(first) == second and successor_of(third) is None
    assert set(rotation_family_of(second)) == {first, second, third}


def test_a_rotation_keeps_a_date_that_is_far_and_begins_anew_where_it_is_near(
    alice: Person,
) -> None:
    now = timezone.now()
    key = alice.key
    key.created_at, key.expires_at = now - timedelta(days=30), now + timedelta(days=60)
    assert rotation.expiry_after_rotation(key, now=now) == key.expires_at
    key.expires_at = now + timedelta(days=1)
    assert rotation.expiry_after_rotation(key, now=now) == now + timedelta(days=31)


@pytest.mark.parametrize(
    "over", ["revoked_at", "suspended_at", "expires_at", "rotated"], ids=lambda over: over
)
def test_a_key_that_is_over_is_neither_rotated_nor_changed(alice: Person, over: str) -> None:
    if over == "rotated":
        rotation.rotate(key=alice.key, overlap=timedelta(hours=1), created_by=None)
    else:
        ApiKey.objects.filter(pk=alice.key.pk).update(**{over: timezone.now()})
    count = ApiKey.objects.count()
    with pytest.raises(KeyNotUsable, match=r"[Mm]ake a new one"):
        rotation.rotate(key=alice.key, overlap=timedelta(0), created_by=None)
    with pytest.raises(KeyNotUsable):
        keys.change(key=alice.key, name="Other", expires_at=None)
    assert ApiKey.objects.count() == count
    assert ApiKey.objects.get(pk=alice.key.pk).name == "Laptop"


def test_a_change_of_terms_holds_for_all_of_the_line_that_still_works(
    alice: Person, bob: Person
) -> None:
    """With two figures for one shared limit, the larger one would be the limit."""
    new, _ = rotation.rotate(key=alice.key, overlap=timedelta(hours=1), created_by=None)
    changed = keys.change(key=new, name="Newer", expires_at=None, **NARROW)
    alice.key.refresh_from_db()
    assert alice.key.monthly_cap_micros == changed.monthly_cap_micros == 1_500_000
    assert (alice.key.name, changed.name) == ("Laptop", "Newer")
    assert alice.key.expires_at is not None
    bob.key.refresh_from_db()
    assert bob.key.monthly_cap_micros is None


def test_a_suspended_key_is_shut_with_its_reason_and_can_still_be_revoked(alice: Person) -> None:
    assert keys.suspend(key=alice.key, because="x" * 300)
    assert not keys.suspend(key=alice.key, because="again")
    alice.key.refresh_from_db()
    assert alice.key.suspended_because == "x" * 200
    assert keys.find(alice.secret) is None
    assert keys.revoke(alice.key)


def test_a_revoked_key_is_not_suspended_as_well(alice: Person) -> None:
    keys.revoke(alice.key)
    assert not keys.suspend(key=alice.key, because="late")


@pytest.mark.parametrize(
    ("text", "network"),
    [
        (" 203.0.113.7 ", "203.0.113.7/32"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("2001:DB8:0:0::1", "2001:db8::1/128"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_is_kept_in_one_form(text: str, network: str) -> None:
    assert networks.parse(text) == network


@pytest.mark.parametrize("text", ["foo", "1", "10.0.0.0/33", "1.2.3.4/", "fe80::1%eth0", "/8"])
def test_what_is_no_network_is_told_with_an_example(text: str) -> None:
    with pytest.raises(networks.NotANetwork, match=r"203\.0\.113\.7"):
        networks.parse(text)


def test_an_address_within_a_network_is_asked_which_of_both_is_meant() -> None:
    with pytest.raises(networks.NotANetwork, match=r"Write 10\.0\.0\.0/8 .* or 10\.0\.0\.5 "):
        networks.parse("10.0.0.5/8")


def test_each_wrong_line_is_named_and_empty_ones_do_not_count() -> None:
    found, problems = networks.parse_lines("\n10.0.0.1\nfoo\n10.0.0.1\nbar")
    assert found == ["10.0.0.1/32"]
    assert [problem.partition(":")[0] for problem in problems] == ["Line 3", "Line 5"]


@pytest.mark.django_db(transaction=True)
def test_two_people_who_rotate_a_key_at_once_make_one(alice: Person) -> None:
    def rotate() -> ApiKey:
        return rotation.rotate(key=alice.key, overlap=timedelta(hours=1), created_by=None)[0]

    results = at_once(*[rotate] * 4)
    made = [result for result in results if isinstance(result, ApiKey)]
    assert made == [successor_of(alice.key)]
    assert sum(isinstance(result, KeyNotUsable) for result in results) == 3


def fill(person: Person, number: int) -> None:
    """So many more working keys, made long ago."""
    rows = ApiKey.objects.bulk_create(
        ApiKey(organization=person.organization, name=f"n{n}", digest=f"{n}", pepper_version=1)
        for n in range(number)
    )
    ApiKey.objects.filter(pk__in=[row.pk for row in rows]).update(
        created_at=timezone.now() - timedelta(days=2)
    )


def test_an_organization_has_so_many_working_keys_and_no_more(
    alice: Person, charlie: Person, settings: Settings
) -> None:
    settings.API_KEYS_PER_ORGANIZATION = 3
    fill(alice, 2)
    with pytest.raises(keys.KeyLimitReached, match=r"3 working API keys.*Revoke one"):
        keys.mint(organization=alice.organization, name="Fourth")
    keys.mint(organization=charlie.organization, name="Another organization's")
    assert alice.organization.api_keys.count() == 3


@pytest.mark.parametrize("over", ["revoked_at", "suspended_at", "expires_at"])
def test_a_key_that_opens_nothing_does_not_count(
    alice: Person, settings: Settings, over: str
) -> None:
    settings.API_KEYS_PER_ORGANIZATION = 1
    ApiKey.objects.filter(pk=alice.key.pk).update(**{over: timezone.now()})
    keys.mint(organization=alice.organization, name="In its place")
    assert keys.is_full(alice.organization)


def test_the_last_key_that_the_limit_allows_is_rotated_too_and_counts_once(
    alice: Person, settings: Settings
) -> None:
    settings.API_KEYS_PER_ORGANIZATION = 2
    rotation.rotate(key=alice.key, overlap=timedelta(hours=1), created_by=None)
    assert not keys.is_full(alice.organization)
    other, _ = keys.mint(organization=alice.organization, name="Second")
    rotation.rotate(key=other, overlap=timedelta(hours=1), created_by=None)
    assert ApiKey.objects.live().count() == 4 and keys.is_full(alice.organization)


def test_what_is_running_out_at_most_doubles_the_working_keys(
    alice: Person, settings: Settings
) -> None:
    settings.API_KEYS_PER_ORGANIZATION = 1
    new, _ = rotation.rotate(key=alice.key, overlap=timedelta(hours=1), created_by=None)
    with pytest.raises(keys.KeyLimitReached, match="rotated before still work"):
        rotation.rotate(key=new, overlap=timedelta(hours=1), created_by=None)
    keys.revoke(alice.key)
    rotation.rotate(key=new, overlap=timedelta(hours=1), created_by=None)


def test_making_and_revoking_in_a_loop_ends_within_the_hour(alice: Person, charlie: Person) -> None:
    for _ in range(keys.NEW_KEYS_AN_HOUR - 1):
        keys.revoke(keys.mint(organization=alice.organization, name="Loop")[0])
    with pytest.raises(keys.KeyLimitReached, match=r"120 API keys within an hour.*in 60 minutes"):
        keys.mint(organization=alice.organization, name="Loop")
    with pytest.raises(keys.KeyLimitReached, match="within an hour"):
        rotation.rotate(key=alice.key, overlap=timedelta(0), created_by=None)
    assert keys.find(alice.secret) == alice.key
    keys.mint(organization=charlie.organization, name="Another organization's")
    ApiKey.objects.filter(pk=alice.key.pk).update(created_at=timezone.now() - timedelta(hours=1))
    keys.mint(organization=alice.organization, name="An hour later")


@pytest.mark.django_db(transaction=True)
def test_two_people_who_make_the_last_key_at_once_make_one(
    alice: Person, settings: Settings
) -> None:
    settings.API_KEYS_PER_ORGANIZATION = 2

    def make() -> ApiKey:
        return keys.mint(organization=alice.organization, name="Last")[0]

    results = at_once(*[make] * 4)
    assert sum(isinstance(result, ApiKey) for result in results) == 1
    assert sum(isinstance(result, keys.KeyLimitReached) for result in results) == 3


def test_the_order_of_the_list_agrees_with_what_is_said_of_each_key(alice: Person) -> None:
    now = timezone.now()
    past, soon = now - timedelta(days=1), now + timedelta(days=1)
    changes: list[dict[str, object]] = [
        {},
        {"revoked_at": past},
        {"expires_at": past},
        {"expires_at": soon},
        {"suspended_at": past},
        {"suspended_at": past, "expires_at": past},
        {"suspended_at": past, "revoked_at": past},
    ]
    for change in changes:
        key, _ = keys.mint(organization=alice.organization, name="x")
        ApiKey.objects.filter(pk=key.pk).update(**change)
    rotation.rotate(key=alice.key, overlap=timedelta(hours=1), created_by=None)
    rows: list[Any] = list(ApiKey.objects.for_organization(alice.organization).ended_last())
    told = with_status(rows)
    assert [status.is_final for _, status in told] == [bool(row.ended) for row in rows]
    assert sorted(row.ended for row in rows) == [row.ended for row in rows]
    assert [key for key, status in told if status == Status.ROTATED] == [alice.key]
