"""What of a caller's own words an error may repeat: short names, and nothing that could be a key or a prompt."""

import re

MOST = 64  # characters
# Names of models, media types and fields: no white space, so no prompt of several words.
NAME = re.compile(r"@?[A-Za-z0-9][\w./:+-]*", re.ASCII)
# Keys of every service begin with one of these, or hold one long run without a separator.
SECRET = re.compile(
    r"(?:^|[^a-z])(?:eco|sk|pk|rk|hf|r8|gsk|xai|ghp|key|bearer|token)[_-]|[a-z0-9]{20}",
    re.IGNORECASE,
)


def repeatable(text: object, *, most: int = MOST) -> str | None:
    """The text itself if an error may repeat it: a plain name of at most `most` characters that is no secret."""
    if not isinstance(text, str) or len(text) > most or not NAME.fullmatch(text):
        return None
    return None if SECRET.search(text) else text
