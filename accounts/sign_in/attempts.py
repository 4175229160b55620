"""How often a password may be guessed. Guessing is slowed, and the owner of the account can still sign in.

An attempt is counted before the password is looked at, so that many at once get no more than one after
another, and a right one gives its tokens back. Where an attempt is refused the password is not looked at:
the answer tells nothing about it.

- On a known device (devices.py) only that device's own failures count: 10, then 20 a day.
- Elsewhere: 5 for each account and network, then 5 in five minutes; 30 for each network, then 30 in ten
  minutes; and 100 for each account, then 100 a day, whatever network they come from.

An owner who is refused by the last of them resets the password: the link in the mail signs in.
"""

from dataclasses import dataclass

from allauth.account.utils import filter_users_by_email
from django.http import HttpRequest

from accounts.http.addresses import caller_address, network_of
from accounts.limits import buckets
from accounts.limits.gcra import Bucket, Wanted
from accounts.models import User
from accounts.sign_in import devices, mailboxes

TOO_MANY = (
    "Too many failed attempts to sign in. Wait a few minutes, or reset your password: "
    "the link in the mail signs you in."
)


@dataclass(frozen=True)
class Attempt:
    """An attempt that may check the password; its tokens are taken."""

    taken: Wanted

    def succeeded(self) -> None:
        """The password was right: only failures count."""
        buckets.give_back(self.taken)


def begin(request: HttpRequest, email: str) -> Attempt | None:
    """Count an attempt to sign in to the account of that address; None where there were too many."""
    # An account with several addresses has one count, and an address without an account has one too.
    users: list[User] = filter_users_by_email(email, prefer_verified=True)
    account = f"user:{users[0].pk}" if users else mailboxes.digests(email)[0]
    device = devices.name_of(request, users[0]) if users and devices.has_any(request) else None
    if device:
        attempt = _take([Bucket(f"sign-in:device:{device}", 10, 5, minutes=720)])
        if attempt:
            return attempt
    network = network_of(caller_address(request.META))
    return _take(
        [
            Bucket(f"sign-in:account:{account}:{network}", 5, 3, minutes=5),
            Bucket(f"sign-in:network:{network}", 30, 10, minutes=10),
            Bucket(f"sign-in:account:{account}", 100, 20, minutes=24 * 60),
        ]
    )


def _take(wanted: list[Bucket]) -> Attempt | None:
    taken = [(bucket, 1) for bucket in wanted]
    return Attempt(taken) if buckets.take(taken).refused is None else None
