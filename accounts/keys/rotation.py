"""Rotation: a new key takes the place of another, with the same name, terms, limits and spending."""

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from accounts.keys.keys import mint
from accounts.keys.status import lock_usable
from accounts.models import ApiKey, User

# A rotation keeps the expiry date if it leaves the new key this long: a week beyond the longest overlap.
KEEPS_ITS_DATE = timedelta(days=14)


def rotate(*, key: ApiKey, overlap: timedelta, created_by: User | None) -> tuple[ApiKey, str]:
    """Replace a key by one of the same name and terms; returns the new row and its secret.

    The old one works on for the overlap, though not beyond its own expiry; with no overlap it ends
    now. Both count against the same limits and the same spending.

    Raises:
        KeyNotUsable: it is not live, or another key replaced it.
        KeyLimitReached: too many of the organization's rotated keys still work, or it made too many just now.
    """
    with transaction.atomic():
        old = lock_usable(key)
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
            prefers_links=old.prefers_links,
            model_aliases=old.model_aliases,
            nearest_size=old.nearest_size,
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
