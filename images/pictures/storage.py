"""Where pictures lie: a folder, or S3 when `S3_BUCKET` is set. Keys hold job id and attempt, so that
two attempts at one job never write the same file and a lost one can be found and removed.
"""

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages


def pictures() -> Storage:
    """The storage of pictures."""
    return storages["images"]


def key_of(generation_id: str, attempt: int) -> str:
    """`Ab/gen_Ab...-1.png`: spread over folders, since some file systems slow down with big ones."""
    return f"{generation_id[4:6]}/{generation_id}-{attempt}.png"


def put(key: str, png: bytes) -> None:
    """Store a finished picture; writing the same key again replaces it."""
    stored = pictures().save(key, ContentFile(png))
    if stored != key:
        raise OSError(f"The storage changed the key {key} to {stored}: it must allow overwriting.")


def get(key: str) -> bytes:
    """The picture's bytes.

    Raises:
        FileNotFoundError: it was removed.
    """
    with pictures().open(key) as file:
        png: bytes = file.read()
    return png


def remove_attempt(generation_id: str, attempt: int) -> None:
    """Remove what that attempt may have stored; safe to repeat."""
    pictures().delete(key_of(generation_id, attempt))


def presigned_url(key: str) -> str | None:
    """A short-lived address at the object store itself; None where pictures lie in a folder."""
    return pictures().url(key) if settings.S3_BUCKET else None
