"""API keys: their form, how one is made, found again and revoked.

A key is `eco_` + 32 random base62 characters + a checksum of 6. The checksum lets a typing error or
a made-up key be refused without a look at the database, and lets secret scanners be sure of a find.
"""

import hashlib
import hmac
import re
import zlib
from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from accounts import base62
from accounts.models import ApiKey, Organization, User

PREFIX = "eco_"
RANDOM_LENGTH = 32  # 190 bits
CHECKSUM_LENGTH = 6  # 62^6 > 2^32
FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}", re.ASCII)
LAST_USED_PRECISION = timedelta(minutes=1)


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
    *, organization: Organization, name: str, created_by: User | None = None
) -> tuple[ApiKey, str]:
    """Make a key; returns its row and the secret, which can never be had again."""
    body = base62.random(RANDOM_LENGTH)
    secret = f"{PREFIX}{body}{checksum(body)}"
    version = max(settings.KEY_PEPPERS)
    key = ApiKey.objects.create(
        organization=organization,
        name=name,
        prefix=secret[:8],
        last_four=secret[-4:],
        digest=digest(secret, settings.KEY_PEPPERS[version]),
        pepper_version=version,
        created_by=created_by,
    )
    return key, secret


def find(secret: str) -> ApiKey | None:
    """The live key of that secret, by one look-up, with its organisation; None where there is none."""
    if not well_formed(secret):
        return None
    digests = [digest(secret, pepper) for pepper in settings.KEY_PEPPERS.values()]
    return ApiKey.objects.live().select_related("organization").filter(digest__in=digests).first()


def note_use(key: ApiKey) -> None:
    """Remember when the key was last used, to the minute, so that most requests write nothing."""
    now = timezone.now()
    if key.last_used_at and now - key.last_used_at < LAST_USED_PRECISION:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_PRECISION)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def revoke(key: ApiKey) -> bool:
    """Shut the key for good, from the next request on; False where it was revoked before."""
    return bool(ApiKey.objects.live().filter(pk=key.pk).update(revoked_at=timezone.now()))
