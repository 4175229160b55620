"""The form of an API key: `eco_`, 32 random base62 characters and a checksum of 6.

With the checksum a typing error or an invented key is refused without a query, and secret scanners can
be sure of a find.
"""

import hashlib
import hmac
import re
import zlib

from accounts import base62

PREFIX = "eco_"
RANDOM_LENGTH = 32  # 190 bits
CHECKSUM_LENGTH = 6  # 62^6 > 2^32
FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}", re.ASCII)


def generate() -> str:
    """A new key, from the operating system's randomness."""
    body = base62.random(RANDOM_LENGTH)
    return f"{PREFIX}{body}{checksum(body)}"


def checksum(body: str) -> str:
    """CRC-32 of the random part, in base 62."""
    return base62.encode(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def is_well_formed(secret: str) -> bool:
    """Whether the text can be a key at all, judged offline."""
    if not FORM.fullmatch(secret):
        return False
    body = secret.removeprefix(PREFIX)
    return checksum(body[:RANDOM_LENGTH]) == body[RANDOM_LENGTH:]


def digest(secret: str, pepper: str) -> str:
    """What the database holds: useless without the pepper, which the database does not hold."""
    return hmac.new(pepper.encode(), secret.encode(), hashlib.sha256).hexdigest()
