"""What `ECOHASH_ENV=production` refuses to start with, each with its remedy."""

from urllib.parse import urlsplit

SHORTEST_SECRET = 32


def problems(
    *, secret_key: str, key_pepper: str, base_url: str, database_url: str, debug: bool
) -> list[str]:
    """One sentence for each unsafe value; an empty list means that the settings are fit to serve."""
    found = []
    if len(secret_key) < SHORTEST_SECRET:
        found.append(f"SECRET_KEY must be set, to at least {SHORTEST_SECRET} random characters.")
    if any(len(secret) < SHORTEST_SECRET for secret in parse_peppers(key_pepper).values()):
        found.append(f"KEY_PEPPER must hold at least {SHORTEST_SECRET} random characters.")
    if not parse_peppers(key_pepper):
        found.append(
            "KEY_PEPPER must be set, as 1:<random characters>; API keys are stored under it."
        )
    if key_pepper and secret_key and secret_key in key_pepper:
        found.append("KEY_PEPPER must differ from SECRET_KEY, so that each can be changed alone.")
    if urlsplit(base_url).scheme != "https":
        found.append(
            "BASE_URL must be set to the public https:// address; links and mails carry it."
        )
    if not database_url.startswith(("postgres://", "postgresql://")):
        found.append(
            "DATABASE_URL must be set to a postgres:// address; SQLite is for one machine."
        )
    if debug:
        found.append("DEBUG must be off: its pages show settings and source to strangers.")
    return found


def parse_peppers(text: str) -> dict[int, str]:
    """`"2:new,1:old"` → `{2: "new", 1: "old"}`; a bare secret is version 1.

    The highest version makes new keys; the others still recognise old ones.

    Raises:
        ValueError: a version is not a whole number.
    """
    peppers = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        version, colon, secret = part.partition(":")
        if colon:
            peppers[int(version)] = secret
        else:
            peppers[1] = version
    return peppers
