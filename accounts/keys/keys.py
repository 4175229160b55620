"""API keys: how one is made, found again, changed, suspended and revoked. A rotation is in rotation.py."""

from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.keys import key_format
from accounts.keys.status import lock_usable, rotation_family_of
from accounts.models import ApiKey, ApiKeyQuerySet, Organization, User

LAST_USED_PRECISION = timedelta(minutes=1)
# Of one organization, above the limit on working keys. A key stays a row for good, so that a leaked one is
# recognized: none are made in a loop.
NEW_KEYS_AN_HOUR = 120


class Terms(TypedDict, total=False):
    """What a key may do, shared by its rotation family. None: no limit but the organization's.

    `allowed_networks` are in CIDR form, as `networks.parse` makes them; an empty list means any address.
    """

    may_generate: bool
    may_read_usage: bool
    allowed_networks: list[str]
    requests_per_minute: int | None
    images_per_minute: int | None
    images_in_flight: int | None
    monthly_cap_micros: int | None
    prefers_links: bool
    model_aliases: dict[str, str]
    nearest_size: bool


class KeyLimitReached(Exception):
    """The organization may make no key now. The text says why, and what to do."""


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

    `root` is the first key of the rotation family that it continues. Without terms it may do everything.

    Raises:
        KeyLimitReached: the organization has as many working keys as it may have, or made too many just now.
    """
    secret = key_format.generate()
    version = max(settings.KEY_PEPPERS)
    with transaction.atomic():
        _require_room(organization, replaces=root is not None)
        key = ApiKey.objects.create(
            organization=organization,
            name=name,
            prefix=secret[:8],
            last_four=secret[-4:],
            digest=key_format.digest(secret, settings.KEY_PEPPERS[version]),
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
    return working.count_families() >= settings.API_KEYS_PER_ORGANIZATION


def _require_room(organization: Organization, *, replaces: bool) -> None:
    """Make sure that one more key may be made; the organization's row stays locked until the caller's commit.

    A rotation is possible also with the last key that the limit allows, for it adds none once the old
    one has ended. What is still running out may double the number of working keys, and no more.

    Raises:
        KeyLimitReached
    """
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    made = ApiKey.objects.filter(organization=organization)
    limit = settings.API_KEYS_PER_ORGANIZATION
    if not replaces and is_full(organization):
        raise KeyLimitReached(
            f"Your organization has reached its limit of {limit} working API keys. "
            "Revoke one that is no longer needed, then make this one."
        )
    if replaces and made.live().count() >= 2 * limit:
        raise KeyLimitReached(
            "Too many keys that were rotated before still work. "
            "Revoke those that are no longer needed, then rotate this one."
        )
    newest = made.order_by("-created_at").values_list("created_at", flat=True)
    since = newest[NEW_KEYS_AN_HOUR - 1 : NEW_KEYS_AN_HOUR].first()
    wait = since + timedelta(hours=1) - timezone.now() if since else timedelta(0)
    if wait > timedelta(0):
        minutes = wait // timedelta(minutes=1) + 1
        raise KeyLimitReached(
            f"Your organization has made {NEW_KEYS_AN_HOUR} API keys within an hour, which is the most "
            f"it may make. Try again in {minutes} minute{'' if minutes == 1 else 's'}."
        )


def find(secret: str) -> ApiKey | None:
    """The live key of that secret, by one look-up, with its organization; None where there is none."""
    return _with_secret(secret).live().first()


def recognize(secret: str) -> ApiKey | None:
    """The key of that secret, whether or not it still works."""
    return _with_secret(secret).first()


def _with_secret(secret: str) -> ApiKeyQuerySet:
    rows = ApiKey.objects.select_related("organization")
    if not key_format.is_well_formed(secret):
        return rows.none()
    digests = [key_format.digest(secret, pepper) for pepper in settings.KEY_PEPPERS.values()]
    return rows.filter(digest__in=digests)


def note_use(key: ApiKey) -> None:
    """Remember when the key was last used, to the minute, so that most requests write nothing."""
    now = timezone.now()
    if key.last_used_at and now - key.last_used_at < LAST_USED_PRECISION:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_PRECISION)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def revoke(key: ApiKey) -> bool:
    """Revoke the key for good, from the next request on; False where it was revoked before.

    One that is suspended or expired can be revoked too, so that nobody can use it again.
    """
    unrevoked = ApiKey.objects.filter(pk=key.pk, revoked_at=None)
    return bool(unrevoked.update(revoked_at=timezone.now()))


def suspend(*, key: ApiKey, because: str) -> bool:
    """Suspend a live key that is not safe any more; False where it was not live.

    The reason is shown to its owners, cut to what the column holds.
    """
    limit = ApiKey._meta.get_field("suspended_because").max_length  # noqa: SLF001 - Django's own name
    live = ApiKey.objects.live().filter(pk=key.pk)
    return bool(live.update(suspended_at=timezone.now(), suspended_because=because[:limit]))


def change(
    *, key: ApiKey, name: str, expires_at: datetime | None, **terms: Unpack[Terms]
) -> ApiKey:
    """Give a key another name, expiry and terms, from the next request on; returns its row.

    The terms hold for every key of its rotation family that still works: two figures for one shared limit would
    mean the larger one.

    Raises:
        KeyNotUsable: it is not live, or another key replaced it.
    """
    with transaction.atomic():
        row = lock_usable(key)
        row.name, row.expires_at = name, expires_at
        row.save(update_fields=["name", "expires_at"])
        if terms:
            rotation_family_of(row).live().update(**terms)
            row.refresh_from_db()
    return row
