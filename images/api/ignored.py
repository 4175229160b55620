"""What a call asked for and does not get: named in a header of the answer, so that nobody has to guess."""

import re
from collections.abc import Mapping
from typing import Any

from accounts.http.repeatable import repeatable

HEADER = "x-ecohash-ignored"
FIELD = re.compile(r"\w[\w.-]{0,39}", re.ASCII)
MOST_NAMES = 20
MORE = "..."
# They say who asks, and nothing about the image.
NO_WISHES = {"user", "safety_identifier"}
# A value that asks for what is done anyway.
AS_IT_IS: Mapping[str, Any] = {
    "background": "opaque",
    "output_compression": 100,
    "partial_images": 0,
}


def ignored_fields(body: Mapping[str, Any], *, read: frozenset[str]) -> list[str]:
    """The names of the fields that have no effect, in the order of the body.

    `read` are those that have one. Null and `auto` ask for nothing. A name that is no plain word of at
    most 40 characters, or that could be a secret, and each after the twentieth is left out; `...` says so.
    """
    asked = [
        name
        for name, value in body.items()
        if name not in read | NO_WISHES
        and value is not None
        and value != "auto"
        and (name not in AS_IT_IS or isinstance(value, bool) or value != AS_IT_IS[name])
    ]
    named = [name for name in asked if FIELD.fullmatch(name) and repeatable(name)][:MOST_NAMES]
    return named if len(named) == len(asked) else [*named, MORE]


def ignored_header(body: Mapping[str, Any], *, read: frozenset[str]) -> dict[str, str]:
    """The header that names them; none where everything has an effect."""
    names = ignored_fields(body, read=read)
    return {HEADER: ", ".join(names)} if names else {}
