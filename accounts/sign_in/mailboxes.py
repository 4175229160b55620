"""Mailboxes: which addresses are one mailbox, by what digest we remember it, and how often we write to it."""

import hashlib
import hmac
import unicodedata
from typing import Literal

from django.conf import settings

from accounts.limits import buckets
from accounts.limits.gcra import Bucket

Kind = Literal["sign-up", "reset"]

# Each domain under which a provider delivers to the same mailboxes, and the name that stands for all.
SAME_MAILBOXES = {
    "googlemail.com": "gmail.com",
    "me.com": "icloud.com",
    "mac.com": "icloud.com",
    "protonmail.com": "proton.me",
    "protonmail.ch": "proton.me",
    "pm.me": "proton.me",
    "ya.ru": "yandex.ru",
    "yandex.com": "yandex.ru",
    "yandex.by": "yandex.ru",
    "yandex.kz": "yandex.ru",
    "fastmail.fm": "fastmail.com",
}
# Characters that a provider leaves out when it looks for the mailbox.
LEFT_OUT = {"gmail.com": ".", "proton.me": ".-_", "yandex.ru": ".-"}
# What begins a tag. A + does everywhere: hosts that deliver `a+b@` to another person than `a@` are rare.
TAG_MARKS = {"yahoo.com": "+-", "ymail.com": "+-", "rocketmail.com": "+-"}
# Providers that deliver `anything@name.fastmail.com` to `name@fastmail.com`.
SUBDOMAIN_IS_NAME = {"fastmail.com", "fastmail.fm"}

MINUTES_IN_AN_HOUR = 60
MINUTES_IN_A_DAY = 24 * 60
# Of each kind: 1 a minute, and 3 an hour after a first 3. Of all kinds: 8 a day after a first 8.
PER_MINUTE, PER_HOUR, PER_DAY = 1, 3, 8


def canonical(email: str) -> str:
    """The one spelling of all addresses that reach the same mailbox, as its provider understands them.

    `Jo.Hn+trial@GoogleMail.com` → `john@gmail.com`. What is no address comes back in lower case.
    """
    name, at, domain = unicodedata.normalize("NFKC", email).strip().casefold().rpartition("@")
    if not at:
        return domain
    domain = _ascii(domain)
    first, _, parent = domain.partition(".")
    if parent in SUBDOMAIN_IS_NAME:
        name, domain = first, parent
    domain = SAME_MAILBOXES.get(domain, domain)
    name = name.strip('"')
    bare = name
    for mark in TAG_MARKS.get(domain, "+"):
        bare = bare.partition(mark)[0]
    for character in LEFT_OUT.get(domain, ""):
        bare = bare.replace(character, "")
    # `+tag@` alone is the name of a mailbox, and `...@` of none that exists.
    return f"{bare or name}@{domain}"


def _ascii(domain: str) -> str:
    """The domain as DNS knows it: `bücher.example` → `xn--bcher-kva.example`."""
    domain = domain.rstrip(".")
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain


def digests(email: str) -> list[str]:
    """The mailbox under each pepper, the newest pepper's first: an HMAC, for a plain hash of an address can be guessed."""
    mailbox = f"mailbox:{canonical(email)}".encode()
    peppers = sorted(settings.KEY_PEPPERS.items(), reverse=True)
    return [hmac.new(pepper.encode(), mailbox, hashlib.sha256).hexdigest() for _, pepper in peppers]


def count_mail(email: str, *, kind: Kind, known: bool) -> bool:
    """Count a mail that somebody who is not signed in has caused; False where the mailbox had enough of them.

    `known` is whether it was caused on a device on which the account has signed in: those are counted
    by themselves, so that nobody else uses up the owner's.
    """
    mailbox = f"mail:{'known' if known else 'stranger'}:{digests(email)[0]}"
    outcome = buckets.take(
        [
            (Bucket(f"{mailbox}:{kind}:minute", PER_MINUTE, PER_MINUTE), 1),
            (Bucket(f"{mailbox}:{kind}", PER_HOUR, PER_HOUR, MINUTES_IN_AN_HOUR), 1),
            (Bucket(mailbox, PER_DAY, PER_DAY, MINUTES_IN_A_DAY), 1),
        ]
    )
    return outcome.refused is None
