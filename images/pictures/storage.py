"""Where pictures lie: a folder, or S3 when `S3_BUCKET` is set. Keys hold job id and attempt, so that
two attempts at one job never write the same file and a lost one can be found and removed.

Whatever the storage does, a call here ends: within `STORAGE_TIMEOUT_SECONDS`, or `REMOVAL_SECONDS` for
a removal, which nobody waits for. Each failure is an `OSError`, of a folder as of a bucket.
"""

import logging

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage, storages

from images.pictures.time_limits import TimeLimit

logger = logging.getLogger(__name__)

REMOVAL_SECONDS = 3.0
_READS = TimeLimit(at_once=64)
_WRITES = TimeLimit(at_once=16)
_REMOVALS = TimeLimit(at_once=4)


def pictures() -> Storage:
    """The storage of pictures."""
    return storages["images"]


def key_of(generation_id: str, attempt: int) -> str:
    """`Ab/gen_Ab...-1.png`: spread over folders, since some file systems slow down with big ones."""
    return f"{generation_id[4:6]}/{generation_id}-{attempt}.png"


def put(key: str, png: bytes) -> None:
    """Store a finished picture; writing the same key again replaces it.

    Raises:
        OSError: it was refused, or took too long. Then it may still be stored later.
    """
    storage = pictures()
    stored = _WRITES.run(
        lambda: storage.save(key, ContentFile(png)), seconds=settings.STORAGE_TIMEOUT_SECONDS
    )
    if stored != key:
        raise OSError(f"The storage changed the key {key} to {stored}: it must allow overwriting.")


def get(key: str, *, seconds: float | None = None) -> bytes:
    """The picture's bytes, within `seconds` where the caller has less time than the storage.

    Raises:
        FileNotFoundError: it was removed.
        OSError: the storage refuses, or took too long.
    """
    most: float = settings.STORAGE_TIMEOUT_SECONDS
    limit = most if seconds is None else min(most, seconds)
    storage = pictures()

    def read() -> bytes:
        with storage.open(key) as file:
            png: bytes = file.read()
        return png

    return _READS.run(read, seconds=limit)


def open_file(key: str) -> "File[bytes]":
    """The picture as an open file of a folder.

    Raises:
        FileNotFoundError: it was removed.
        OSError: it cannot be opened, or that took too long.
    """
    storage = pictures()
    return _READS.run(lambda: storage.open(key), seconds=settings.STORAGE_TIMEOUT_SECONDS)


def remove(key: str) -> None:
    """Remove a picture; safe to repeat. Where several removals hang already, it fails at once.

    Raises:
        OSError: the storage refuses, or has not said within `REMOVAL_SECONDS` that it is done.
    """
    storage = pictures()
    _REMOVALS.run(lambda: storage.delete(key), seconds=REMOVAL_SECONDS, wait_for_place=False)


def remove_attempt(generation_id: str, attempt: int) -> None:
    """Remove what that attempt may have stored; safe to repeat.

    Raises:
        OSError: as `remove`; the purge tries again.
    """
    remove(key_of(generation_id, attempt))


def remove_attempt_if_possible(generation_id: str, attempt: int) -> None:
    """`remove_attempt`; what a storage that is away keeps is left to the purge."""
    try:
        remove_attempt(generation_id, attempt)
    except OSError as error:
        logger.warning(
            "picture left to the purge", extra={"generation": generation_id, **describe(error)}
        )


def presigned_url(key: str) -> str | None:
    """A short-lived address at the object store itself; None where we send the picture ourselves.

    Raises:
        OSError: there are no credentials to sign with, or they could not be had in time.
    """
    if not settings.S3_BUCKET or settings.S3_LINKS != "redirect":
        return None
    storage = pictures()
    return _READS.run(lambda: storage.url(key), seconds=settings.STORAGE_TIMEOUT_SECONDS)


def describe(error: Exception) -> dict[str, str]:
    """What a log says about a failure: the kind of error, the store's code, and what to do."""
    told = {"error": type(error).__name__}
    for name in ("code", "hint"):
        if value := getattr(error, name, ""):
            told[name] = str(value)
    return told
