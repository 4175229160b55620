"""The values that `ECOHASH_ENV=production` refuses, each with its remedy.

A stand-in takes the place of something real on one machine: a folder for mail, the miniature for
FLUX.1 Schnell. Production runs on one only where ALLOWED_STAND_INS names it.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from inference.checkpoints import is_miniature

SHORTEST_SECRET = 32
# 32 random hexadecimal digits have fewer than 8 different ones once in 27 million.
FEWEST_CHARACTERS = 8
# Words that people type in place of a secret, without anything but letters.
PLACEHOLDERS = (
    *("changeme", "changeit", "changethis", "replaceme", "replacethis", "placeholder", "example"),
    *("insecure", "yoursecret", "mysecret", "secretkey", "supersecret", "randomcharacters"),
)
HIGHEST_VERSION = 32_767  # of a pepper, in the column beside each key
HOW_TO_MAKE_ONE = "Make one with: openssl rand -hex 32"
# Nothing stands in for Stripe then, and billing.W001 says that nobody can add a card.
CREDIT_ONLY = "credit"


@dataclass(frozen=True)
class StandIn:
    """A stand-in that is in use: its name in ALLOWED_STAND_INS, the problem for customers, the remedy."""

    name: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}, or add {self.name} to ALLOWED_STAND_INS."


STAND_INS = {
    "mail": (
        "EMAIL_URL is not set: mails stay in a folder, and no customer gets a link.",
        "Set it to a mail server, such as smtp+tls://user:password@host:587",
    ),
    "stripe": (
        "STRIPE_SECRET_KEY is not set: a sandbox takes Stripe's place, and nobody can pay.",
        "Set it to your Stripe account's secret key, add credit to ALLOWED_STAND_INS to do without",
    ),
    "miniature": (
        "FLUX_MODEL names no weights but the miniature's, which would be sold as FLUX.1 Schnell.",
        "Set it to a folder with the weights or to a hub id",
    ),
    "blank": (
        "INFERENCE_ENGINE is blank: noise would be sold as images.",
        "Set it to flux",
    ),
    "secrets": (
        "{} is not set: each machine would make its own in VAR_DIR.",
        f"Set it to at least {SHORTEST_SECRET} random characters (openssl rand -hex 32)",
    ),
    "pictures": (
        "S3_BUCKET is not set: images lie in a folder of one machine.",
        "Set it to the name of a bucket",
    ),
    "redis": (
        "REDIS_URL is not set: only what `manage.py up` starts on the same machine has a Redis.",
        "Set it to a Redis that all processes reach, such as redis://host:6379/0",
    ),
}
"""By name: what is wrong and what to do. A database is not among them: the ledger's rules against
changes are PostgreSQL's triggers, so nothing stands in for it."""
NAMES = (*STAND_INS, CREDIT_ONLY)


def stand_ins(value: Callable[[str], str], *, allowed: Collection[str] = ()) -> list[StandIn]:
    """Those that would be used; `value` gives each setting's text, empty where it is unset."""
    found = []
    for name in ("SECRET_KEY", "KEY_PEPPER"):
        if not value(name):
            problem, remedy = STAND_INS["secrets"]
            found.append(StandIn("secrets", problem.format(name), remedy))
    blank = value("INFERENCE_ENGINE") == "blank"
    paid = value("STRIPE_SECRET_KEY") or value("STRIPE_API_BASE") or CREDIT_ONLY in allowed
    in_use = {
        "mail": not value("EMAIL_URL"),
        "stripe": not paid,
        "blank": blank,
        "miniature": not blank and is_miniature(value("FLUX_MODEL")),
        "pictures": not value("S3_BUCKET"),
        "redis": not value("REDIS_URL"),
    }
    return found + [StandIn(name, *STAND_INS[name]) for name, used in in_use.items() if used]


def problems(
    *,
    secret_key: str,
    key_pepper: str,
    webhook_secrets: Iterable[str],
    base_url: str,
    allowed_hosts: Iterable[str],
    trusted_proxies: int,
    database_url: str,
    debug: bool,
) -> list[str]:
    """One sentence for each unsafe value; an empty list means that the settings are fit to serve.

    What is unset is left to `stand_ins` where something can stand in for it.
    """
    found = [
        *_of_secrets(secret_key=secret_key, key_pepper=key_pepper),
        *_of_webhooks(webhook_secrets),
        *_of_addresses(
            base_url=base_url, allowed_hosts=allowed_hosts, trusted_proxies=trusted_proxies
        ),
    ]
    if not database_url.startswith(("postgres://", "postgresql://")):
        found.append(
            "DATABASE_URL must be set to a postgres:// address; SQLite is for one machine."
        )
    if debug:
        found.append("DEBUG must be off: its pages show settings and source to strangers.")
    return found


def _of_secrets(*, secret_key: str, key_pepper: str) -> list[str]:
    try:
        peppers = list(parse_peppers(key_pepper).values())
    except ValueError:
        # settings.py tells that in development too.
        peppers = []
    given = [("SECRET_KEY", secret_key), *(("KEY_PEPPER", pepper) for pepper in peppers)]
    found = [
        f"{name} {reason}. {HOW_TO_MAKE_ONE}"
        for name, secret in given
        if secret and (reason := weakness(secret))
    ]
    if secret_key and any(secret_key in pepper for pepper in peppers):
        found.append("KEY_PEPPER must differ from SECRET_KEY, so that each can be changed alone.")
    if len(set(peppers)) < len(peppers):
        found.append("KEY_PEPPER must hold another secret for each version.")
    return list(dict.fromkeys(found))


def _of_webhooks(webhook_secrets: Iterable[str]) -> list[str]:
    """A guessed secret would let a stranger report payments that nobody made."""
    if any(
        secret and weakness(secret.removeprefix("whsec_"), shortest=16)
        for secret in webhook_secrets
    ):
        return [
            "A webhook secret is no real one: copy STRIPE_WEBHOOK_SECRET and STRIPE_THIN_WEBHOOK_SECRET from Stripe's dashboard."
        ]
    return []


def _of_addresses(
    *, base_url: str, allowed_hosts: Iterable[str], trusted_proxies: int
) -> list[str]:
    found = []
    if urlsplit(base_url).scheme != "https":
        found.append(
            "BASE_URL must be set to the public https:// address; links and mails carry it."
        )
    if any(host in {"*", "."} for host in allowed_hosts):
        found.append(
            "ALLOWED_HOSTS must name the hosts: with * a stranger chooses the host of a link."
        )
    if not trusted_proxies:
        # gunicorn speaks plain HTTP, so with https in BASE_URL there always is one.
        found.append(
            "TRUSTED_PROXIES must be the number of proxies in front, 1 or more; with 0 all "
            "customers have the address of the one that speaks https."
        )
    return found


def weakness(secret: str, *, shortest: int = SHORTEST_SECRET) -> str:
    """Why a stranger could guess it, as the end of a sentence; empty for one that looks random."""
    if len(secret) < shortest:
        return f"must hold at least {shortest} random characters"
    letters = re.sub(r"[^a-z]", "", secret.lower())
    if any(word in letters for word in PLACEHOLDERS):
        return "is a well-known placeholder, and no secret"
    # A text that repeats itself is found in its own double before the end.
    if len(set(secret)) < FEWEST_CHARACTERS or secret in (secret + secret)[1:-1]:
        return "has too few different characters to be random"
    return ""


def parse_peppers(text: str) -> dict[int, str]:
    """`"2:new,1:old"` → `{2: "new", 1: "old"}`; a bare secret alone is version 1.

    The highest version makes new keys; the others still recognize old ones.

    Raises:
        ValueError: the end of a sentence that begins with KEY_PEPPER.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) == 1 and ":" not in parts[0]:
        return {1: parts[0]}
    peppers: dict[int, str] = {}
    for part in parts:
        version, colon, secret = part.partition(":")
        if not colon:
            raise ValueError(
                "holds a secret without its version. Write each one as version:secret, such as "
                "2:<new>,1:<old>."
            )
        if not re.fullmatch("[0-9]{1,5}", version) or not 1 <= int(version) <= HIGHEST_VERSION:
            raise ValueError(
                f"must look like 2:<secret>,1:<older secret>, with versions from 1 to {HIGHEST_VERSION}."
            )
        if not secret:
            raise ValueError(f"holds no secret for version {int(version)}. Write it behind the :.")
        if int(version) in peppers:
            raise ValueError(f"holds version {int(version)} twice. Give the new one a higher one.")
        peppers[int(version)] = secret
    return peppers
