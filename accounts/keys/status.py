"""Where a key is in its life: active, rotated, expired, suspended or revoked."""

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum

from django.db.models import Max, Q
from django.utils import timezone

from accounts.models import ApiKey, ApiKeyQuerySet

EXPIRES_SOON = timedelta(days=7)


class Status(Enum):
    """Where a key is in its life, as pages say it: (the word, the color of its dot)."""

    ACTIVE = ("Active", "succeeded")
    EXPIRES_SOON = ("Expires soon", "queued")
    ROTATED = ("Rotated", "queued")
    EXPIRED = ("Expired", "canceled")
    REVOKED = ("Revoked", "canceled")
    SUSPENDED = ("Suspended", "failed")

    @property
    def word(self) -> str:
        return self.value[0]

    @property
    def color(self) -> str:
        return self.value[1]

    @property
    def is_final(self) -> bool:
        """Whether it is over for good. A suspended key is not: somebody has to replace it."""
        return self in {Status.EXPIRED, Status.REVOKED}


class KeyNotUsable(Exception):
    """The key can be neither changed nor rotated. The text says why, and what to do instead."""

    TEXTS = {
        Status.REVOKED: "This key is revoked. Make a new one.",
        Status.SUSPENDED: "This key is suspended and no longer works. Make a new one in its place.",
        Status.EXPIRED: "This key has expired. Make a new one.",
        Status.ROTATED: "This key was rotated before. Take the key that replaced it, or make a new one.",
    }

    def __init__(self, status: Status) -> None:
        super().__init__(self.TEXTS[status])
        self.status = status


def rotation_family_of(key: ApiKey) -> ApiKeyQuerySet:
    """The key and all that it was rotated from or to."""
    return ApiKey.objects.filter(Q(pk=key.family_id) | Q(root=key.family_id))


def successor_of(key: ApiKey) -> ApiKey | None:
    """The key that replaced this one, if it was rotated."""
    return rotation_family_of(key).filter(pk__gt=key.pk).order_by("pk").first()


def status_of(key: ApiKey, *, rotated: bool) -> Status:
    """Where the key is in its life; `rotated` says whether another key replaced it."""
    if key.revoked_at:
        return Status.REVOKED
    if key.suspended_at:
        return Status.SUSPENDED
    if not key.is_live:
        return Status.EXPIRED
    if rotated:
        return Status.ROTATED
    if key.expires_at and key.expires_at - timezone.now() < EXPIRES_SOON:
        return Status.EXPIRES_SOON
    return Status.ACTIVE


def with_status(rows: Sequence[ApiKey]) -> list[tuple[ApiKey, Status]]:
    """Each of these keys with where it is in its life."""
    later = ApiKey.objects.filter(root__in={key.family_id for key in rows}).order_by()
    newest = dict(later.values_list("root").annotate(Max("pk")))
    return [
        (key, status_of(key, rotated=newest.get(key.family_id, key.pk) > key.pk)) for key in rows
    ]


def lock_usable(key: ApiKey) -> ApiKey:
    """The key's row as it is now, locked, so that two people cannot rotate it at once.

    Raises:
        KeyNotUsable: it is not live, or another key replaced it.
    """
    row = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
    status = status_of(row, rotated=successor_of(row) is not None)
    if status not in {Status.ACTIVE, Status.EXPIRES_SOON}:
        raise KeyNotUsable(status)
    return row
