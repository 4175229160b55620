"""API keys: their form, how one is made, found again, changed, rotated, suspended and revoked.

A key is `eco_` + 32 random base62 characters + a checksum of 6. The checksum lets a typing error or
a made-up key be refused without a look at the database, and lets secret scanners be sure of a find.
"""

import hashlib
import hmac
import re
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import TypedDict, Unpack

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from accounts import base62
from accounts.models import ApiKey, ApiKeyQuerySet, Organization, User

PREFIX = "eco_"
RANDOM_LENGTH = 32  # 190 bits
CHECKSUM_LENGTH = 6  # 62^6 > 2^32
FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}", re.ASCII)
LAST_USED_PRECISION = timedelta(minutes=1)
EXPIRES_SOON = timedelta(days=7)
# A rotation keeps the expiry date if it leaves the new key this long: a week beyond the longest overlap.
KEEPS_ITS_DATE = timedelta(days=14)
# Of one organization, above the limit on working keys. A key stays a row for good, so that a leaked one is
# recognized: none are made in a loop.
NEW_KEYS_AN_HOUR = 120


class Terms(TypedDict, total=False):
    """What a key may do, shared by its line of rotations. None: no limit but the organisation's.

    `allowed_networks` are in CIDR form, as `networks.parse` makes them; an empty list means any address.
    """

    may_generate: bool
    may_read_usage: bool
    allowed_networks: list[str]
    requests_per_minute: int | None
    images_per_minute: int | None
    images_in_flight: int | None
    monthly_cap_micros: int | None


class Status(Enum):
    """Where a key is in its life, as pages say it: (the word, the colour of its dot)."""

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
    def colour(self) -> str:
        return self.value[1]

    @property
    def is_final(self) -> bool:
        """Whether it is over for good. A suspended key is not: it still needs somebody."""
        return self in {Status.EXPIRED, Status.REVOKED}


class KeyIsOver(Exception):
    """The key can be neither changed nor rotated. The text says why, and what to do instead."""

    TEXTS = {
        Status.REVOKED: "This key is revoked. Make a new one.",
        Status.SUSPENDED: "This key is suspended and opens nothing. Make a new one in its place.",
        Status.EXPIRED: "This key has expired. Make a new one.",
        Status.ROTATED: "This key was rotated before. Take the key that replaced it, or make a new one.",
    }

    def __init__(self, status: Status) -> None:
        super().__init__(self.TEXTS[status])
        self.status = status


class TooManyKeys(Exception):
    """The organization may make no key now. The text says why, and what to do."""


def checksum(body: str) -> str:
    """CRC-32 of the random part, in base 62."""
    return base62.encode(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def well_formed(secret: str) -> bool:
    """Whether the text can be a key at all, judged offline."""
    if not FORM.fullmatch(secret):
        return False
    body = secret.removeprefix(PREFIX)
    return checksum(body[:RANDOM_LENGTH]) == body[RANDOM_LENGTH:]


def digest(secret: str, pepper: str) -> str:
    """What the database holds: useless without the pepper, which the database does not hold."""
    return hmac.new(pepper.encode(), secret.encode(), hashlib.sha256).hexdigest()


def mint(
    *,
    organization: Organization,
    name: str,
    created_by: User | None = None,
    expires_at: datetime | None = None,
    root: ApiKey | None = None,
    **terms: Unpack[Terms],
) -> tuple[ApiKey, str]:
    """Make a key; returns its row and the secret, which can never be had again.

    `root` is the first key of the line that it continues. Without terms it may do everything.

    Raises:
        TooManyKeys: the organization has as many working keys as it may have, or made too many just now.
    """
    body = base62.random(RANDOM_LENGTH)
    secret = f"{PREFIX}{body}{checksum(body)}"
    version = max(settings.KEY_PEPPERS)
    with transaction.atomic():
        _require_room(organization, replaces=root is not None)
        key = ApiKey.objects.create(
            organization=organization,
            name=name,
            prefix=secret[:8],
            last_four=secret[-4:],
            digest=digest(secret, settings.KEY_PEPPERS[version]),
            pepper_version=version,
            created_by=created_by,
            expires_at=expires_at,
            root=root,
            **terms,
        )
    return key, secret


def is_full(organization: Organization) -> bool:
    """Whether it has as many working keys as it may have; a key and what replaced it count as one."""
    working = ApiKey.objects.filter(organization=organization).live()
    return working.count_lines() >= settings.API_KEYS_PER_ORGANIZATION


def _require_room(organization: Organization, *, replaces: bool) -> None:
    """Let pass who may make one more key; the row of the organization is locked until the caller's commit.

    A rotation is possible also with the last key that the limit allows, for it adds none once the old
    one has ended. What is still running out may double the number of working keys, and no more.

    Raises:
        TooManyKeys
    """
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    made = ApiKey.objects.filter(organization=organization)
    limit = settings.API_KEYS_PER_ORGANIZATION
    if not replaces and is_full(organization):
        raise TooManyKeys(
            f"Your organization has reached its limit of {limit} working API keys. "
            "Revoke one that is no longer needed, then make this one."
        )
    if replaces and made.live().count() >= 2 * limit:
        raise TooManyKeys(
            "Too many keys that were rotated before still work. "
            "Revoke those that are no longer needed, then rotate this one."
        )
    newest = made.order_by("-created_at").values_list("created_at", flat=True)
    since = newest[NEW_KEYS_AN_HOUR - 1 : NEW_KEYS_AN_HOUR].first()
    wait = since + timedelta(hours=1) - timezone.now() if since else timedelta(0)
    if wait > timedelta(0):
        minutes = wait // timedelta(minutes=1) + 1
        raise TooManyKeys(
            f"Your organization has made {NEW_KEYS_AN_HOUR} API keys within an hour, which is the most "
            f"it may make. Try again in {minutes} minute{'' if minutes == 1 else 's'}."
        )


def find(secret: str) -> ApiKey | None:
    """The live key of that secret, by one look-up, with its organisation; None where there is none."""
    return _of_secret(secret).live().first()


def recognize(secret: str) -> ApiKey | None:
    """The key of that secret, whether or not it still opens the door."""
    return _of_secret(secret).first()


def _of_secret(secret: str) -> ApiKeyQuerySet:
    rows = ApiKey.objects.select_related("organization")
    if not well_formed(secret):
        return rows.none()
    digests = [digest(secret, pepper) for pepper in settings.KEY_PEPPERS.values()]
    return rows.filter(digest__in=digests)


def note_use(key: ApiKey) -> None:
    """Remember when the key was last used, to the minute, so that most requests write nothing."""
    now = timezone.now()
    if key.last_used_at and now - key.last_used_at < LAST_USED_PRECISION:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_PRECISION)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def revoke(key: ApiKey) -> bool:
    """Shut the key for good, from the next request on; False where it was revoked before.

    One that is suspended or expired can be revoked too, so that nobody can open it again.
    """
    unrevoked = ApiKey.objects.filter(pk=key.pk, revoked_at=None)
    return bool(unrevoked.update(revoked_at=timezone.now()))


def suspend(*, key: ApiKey, because: str) -> bool:
    """Shut a live key because it is not safe any more; False where it opened nothing already.

    The reason is shown to its owners, cut to what the column holds.
    """
    limit = ApiKey._meta.get_field("suspended_because").max_length  # noqa: SLF001 - Django's own name
    live = ApiKey.objects.live().filter(pk=key.pk)
    return bool(live.update(suspended_at=timezone.now(), suspended_because=because[:limit]))


def change(
    *, key: ApiKey, name: str, expires_at: datetime | None, **terms: Unpack[Terms]
) -> ApiKey:
    """Give a key another name, expiry and terms, from the next request on; returns its row.

    The terms hold for every key of its line that still works: two figures for one shared limit would
    mean the larger one.

    Raises:
        KeyIsOver: it is not live, or another key replaced it.
    """
    with transaction.atomic():
        row = _usable(key)
        row.name, row.expires_at = name, expires_at
        row.save(update_fields=["name", "expires_at"])
        if terms:
            rotation_family_of(row).live().update(**terms)
            row.refresh_from_db()
    return row


def rotate(*, key: ApiKey, overlap: timedelta, created_by: User | None) -> tuple[ApiKey, str]:
    """Replace a key by one of the same name and terms; returns the new row and its secret.

    The old one works on for the overlap, though not beyond its own expiry; with no overlap it ends
    now. Both count against the same limits and the same spending.

    Raises:
        KeyIsOver: it is not live, or another key replaced it.
        TooManyKeys: too many of the organization's rotated keys still work, or it made too many just now.
    """
    with transaction.atomic():
        old = _usable(key)
        now = timezone.now()
        new, secret = mint(
            organization=old.organization,
            name=old.name,
            created_by=created_by,
            expires_at=expiry_after_rotation(old, now=now),
            root=old.root or old,
            may_generate=old.may_generate,
            may_read_usage=old.may_read_usage,
            allowed_networks=old.allowed_networks,
            requests_per_minute=old.requests_per_minute,
            images_per_minute=old.images_per_minute,
            images_in_flight=old.images_in_flight,
            monthly_cap_micros=old.monthly_cap_micros,
        )
        old.expires_at = min(now + overlap, old.expires_at or now + overlap)
        old.save(update_fields=["expires_at"])
    return new, secret


def expiry_after_rotation(key: ApiKey, *, now: datetime) -> datetime | None:
    """When the key that replaces this one expires: at the same date, unless that is near.

    Whoever rotates a key because it is about to expire gets one that lives as long as the old one
    was meant to.
    """
    if key.expires_at is None or key.expires_at - now >= KEEPS_ITS_DATE:
        return key.expires_at
    return now + (key.expires_at - key.created_at)


def rotation_family_of(key: ApiKey) -> ApiKeyQuerySet:
    """The key and all that it was rotated from or to."""
    return ApiKey.objects.filter(Q(pk=key.line_id) | Q(root=key.line_id))


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
    later = ApiKey.objects.filter(root__in={key.line_id for key in rows}).order_by()
    newest = dict(later.values_list("root").annotate(Max("pk")))
    return [(key, status_of(key, rotated=newest.get(key.line_id, key.pk) > key.pk)) for key in rows]


def _usable(key: ApiKey) -> ApiKey:
    """The key's row as it is now, locked, so that two people cannot rotate it at once.

    Raises:
        KeyIsOver: it is not live, or another key replaced it.
    """
    row = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
    status = status_of(row, rotated=successor_of(row) is not None)
    if status not in {Status.ACTIVE, Status.EXPIRES_SOON}:
        raise KeyIsOver(status)
    return row
