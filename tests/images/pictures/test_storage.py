"""Where pictures lie."""

import pytest

from images.models import new_generation_id
from images.pictures import storage


def test_what_was_stored_is_read_back_and_removed() -> None:
    key = storage.key_of(new_generation_id(), 1)
    storage.put(key, b"one")
    assert storage.get(key) == b"one"
    storage.pictures().delete(key)
    with pytest.raises(FileNotFoundError):
        storage.get(key)


def test_storing_again_replaces_and_keeps_the_key() -> None:
    key = storage.key_of(new_generation_id(), 1)
    storage.put(key, b"one")
    storage.put(key, b"two")
    assert storage.get(key) == b"two"


def test_two_attempts_never_share_a_file() -> None:
    generation_id = new_generation_id()
    assert storage.key_of(generation_id, 1) != storage.key_of(generation_id, 2)


def test_removing_an_attempt_is_safe_to_repeat_and_spares_the_other() -> None:
    generation_id = new_generation_id()
    for attempt in (1, 2):
        storage.put(storage.key_of(generation_id, attempt), b"png")
    storage.remove_attempt(generation_id, 1)
    storage.remove_attempt(generation_id, 1)
    assert not storage.pictures().exists(storage.key_of(generation_id, 1))
    assert storage.get(storage.key_of(generation_id, 2)) == b"png"


def test_a_storage_that_renames_is_refused(settings, tmp_path) -> None:
    options = {"location": str(tmp_path), "allow_overwrite": False}
    settings.STORAGES = settings.STORAGES | {
        "images": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": options,
        }
    }
    storage.put("a.png", b"one")
    with pytest.raises(OSError, match="must allow overwriting"):
        storage.put("a.png", b"two")


def test_a_folder_has_no_addresses_of_its_own() -> None:
    assert storage.presigned_url("a.png") is None
