"""Why a call has no key that works, in words for its caller, who often has only one thing to put right.

A text never holds anything of what was sent, and it tells about a key of ours only to who holds all of it:
the digest of the whole key was found. Whether an invented key is known here stays untold, for its checksum
is wrong, or nobody has it.
"""

import re
from collections.abc import Mapping

from django.utils import timezone

from accounts.http.programs import KEY_HEADERS
from accounts.keys import key_format, keys
from accounts.models import ApiKey

HOW = "Send it in the Authorization header, as 'Authorization: Bearer eco_...'."
NEW_KEY = "Make a new one on the dashboard's Keys page."
IN_QUERY = re.compile(r"(?:^|&)(?:api[_-]?key|key|access[_-]?token|token)=", re.IGNORECASE)
QUOTES = "\"'`"
LENGTH = len(key_format.PREFIX) + key_format.RANDOM_LENGTH + key_format.CHECKSUM_LENGTH
# What stands there when a program or a person did not put the key in.
NOTHING = {"undefined", "null", "none", "nil", "nan", "[object object]", "false", "true", "empty"}
PLACEHOLDER = re.compile(
    r"[$%{}<>\[\]]|^(?:your|my|insert|replace|paste|enter)\b|^(?:your|my)[_-]|api[_ -]?key|^x{3,}|^\*{3,}"
    r"|^(?:test|dummy|fake|example|placeholder|changeme|not[_-]needed|no[_-]?key|secret|key|token)$",
    re.IGNORECASE,
)
SHORTENED = ("...", "\u2026", "***")
AGAIN = re.compile(r"bearer(?:[\s:]|$)", re.IGNORECASE)
# How the keys of other services begin.
OTHERS = re.compile(r"(?:sk|pk|rk|r8|hf|gsk|xai|key|fw|nvapi|sess)[-_]|AIza|eyJ")


def missing_key_text(headers: Mapping[str, str], query: str) -> str:
    """What to say to a call without a bearer key. `query` is the raw text behind the question mark."""
    return f"You didn't provide an API key{_instead(headers, query)}"


def _instead(headers: Mapping[str, str], query: str) -> str:
    header = headers.get("Authorization", "").strip()
    if header:
        return f"{_in_place_of_bearer(header)} {HOW}"
    for name in KEY_HEADERS:
        if headers.get(name):
            return f" where it is looked for: the header {name} is not read. {HOW}"
    if IN_QUERY.search(query):
        return (
            f" where it is looked for: a key in the address is not read, and gets into logs. {HOW}"
        )
    return f". {HOW} You can make one on the dashboard's Keys page."


def _in_place_of_bearer(header: str) -> str:
    scheme, _, rest = header.lower().partition(" ")
    if scheme == "bearer":
        return ": nothing follows the word Bearer. The variable that should hold your key is probably empty."
    if scheme.startswith("bearer"):
        return " that can be read: the word Bearer is followed by one space and your key."
    if not rest and key_format.PREFIX in header:
        return " that can be read: the word Bearer is missing before it."
    return " in a form that is accepted here: the word Bearer must stand before it."


def invalid_key_text(secret: str) -> str:
    """What to say of a text behind the word Bearer that is no live key. Asks the database for a whole key."""
    if not key_format.is_well_formed(secret):
        return _malformed(secret)
    key = keys.recognize(secret)
    if key is None:
        return (
            "This API key is unknown here. It may be from another server: compare its address with your "
            f"base URL. {NEW_KEY}"
        )
    return ended_key_text(key)


def ended_key_text(key: ApiKey | None) -> str:
    """What to say of a key of ours that works no more, to who holds it. Dates are those of UTC."""
    if key and key.revoked_at:
        return f"This API key was revoked on {key.revoked_at:%Y-%m-%d}. {NEW_KEY}"
    if key and key.suspended_at:
        return (
            f"This API key was suspended on {key.suspended_at:%Y-%m-%d} and does not work any more. "
            "The dashboard's Keys page says why; make a new one there."
        )
    if key and key.expires_at and key.expires_at <= timezone.now():
        return f"This API key expired on {key.expires_at:%Y-%m-%d}. {NEW_KEY}"
    return f"This API key is not valid any more. {NEW_KEY}"


def _malformed(sent: str) -> str:
    whole = next(filter(key_format.is_well_formed, key_format.FORM.findall(sent)), None)
    if whole:
        return f"{_around(sent)} Send the key alone, as 'Authorization: Bearer eco_...'."
    bare = sent.strip(QUOTES + " ,;")
    if not bare or bare.lower() in NOTHING:
        return (
            "In place of the API key came an empty value. The variable that should hold it is not set. "
            + HOW
        )
    if any(dots in bare for dots in SHORTENED):
        return (
            "This API key is shortened, as lists and examples show it. Copy the whole key, which is shown "
            f"once, when it is made. {NEW_KEY}"
        )
    return _mistyped(bare) if bare.startswith(key_format.PREFIX) else _not_ours(bare)


def _mistyped(bare: str) -> str:
    if key_format.FORM.fullmatch(bare):
        return "This API key is mistyped: its last characters do not fit. Copy it again."
    extent = "is incomplete" if len(bare) < LENGTH else "is too long"
    return (
        f"This API key {extent}, or has a character that no key has: a key is '{key_format.PREFIX}' and "
        f"{LENGTH - len(key_format.PREFIX)} letters and digits. Copy it again."
    )


def _around(sent: str) -> str:
    """What stands around a key that is whole."""
    if any(quote in sent for quote in QUOTES):
        return "The API key came in quotes."
    if "bearer" in sent.lower():
        return "The word Bearer came twice before the API key."
    return "Something stands before or after the API key, such as a quote, a comma or a line break."


def _not_ours(bare: str) -> str:
    if PLACEHOLDER.search(bare):
        return (
            "In place of the API key came a placeholder, such as the name of a variable. "
            f"Put the key itself there. {HOW}"
        )
    if AGAIN.match(bare):
        return f"The word Bearer came twice, and no API key of this service. {HOW}"
    if OTHERS.match(bare):
        return (
            f"This is the API key of another service. The keys of this one begin with '{key_format.PREFIX}'. "
            + NEW_KEY
        )
    if key_format.PREFIX in bare.lower():
        return f"This API key is mistyped: a key begins with '{key_format.PREFIX}'. Copy it again."
    return (
        f"This is no API key of this service: they begin with '{key_format.PREFIX}'. "
        "You find yours on the dashboard's Keys page, or make a new one there."
    )
