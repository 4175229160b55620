"""API keys: their form, their digest, and how long they live."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import base62, keys
from accounts.models import ApiKey
from tests.cast import Person

OLD_PEPPER, NEW_PEPPER = "o" * 40, "n" * 40


def test_a_key_is_a_prefix_random_characters_and_their_checksum(alice: Person) -> None:
    assert alice.secret.startswith("eco_")
    assert len(alice.secret) == 4 + 32 + 6
    assert keys.well_formed(alice.secret)
    assert alice.secret[-6:] == keys.checksum(alice.secret[4:36])


def test_a_typing_error_is_found_without_the_database(alice: Person) -> None:
    """No database fixture is asked for by `well_formed`: each single wrong character shows."""
    for place in range(4, len(alice.secret)):
        wrong = "A" if alice.secret[place] != "A" else "B"
        assert not keys.well_formed(alice.secret[:place] + wrong + alice.secret[place + 1 :])


@pytest.mark.parametrize(
    "text",
    ["", "eco_", "eco_short", "sk-" + "a" * 38, "eco_" + "é" * 38, "eco_" + "٣" * 38, "\x00" * 42],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    assert not keys.well_formed(text)
    assert keys.find(text) is None


def test_a_key_with_a_line_break_behind_it_is_refused(alice: Person) -> None:
    assert not keys.well_formed(alice.secret + "\n")


def test_two_keys_are_never_alike(alice: Person, bob: Person) -> None:
    assert alice.secret != bob.secret
    assert alice.key.digest != bob.key.digest


def test_the_database_holds_a_digest_under_the_pepper_and_not_the_key(
    alice: Person, settings
) -> None:
    row = ApiKey.objects.filter(pk=alice.key.pk).values().get()
    assert alice.secret not in repr(row)
    assert alice.secret[8:-4] not in repr(row)
    assert row["digest"] == keys.digest(alice.secret, settings.KEY_PEPPERS[1])
    assert row["digest"] != keys.digest(alice.secret, "another pepper")


def test_a_list_shows_enough_to_recognise_a_key(alice: Person) -> None:
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
