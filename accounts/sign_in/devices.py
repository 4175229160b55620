"""Known devices: browsers in which somebody has signed in to an account before. Limits on guessing do not count them.

Each has a signed cookie for the account, as in OWASP's "Slow Down Online Guessing Attacks with Device Cookies".
"""

from secrets import token_urlsafe
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts.models import User

PREFIX = "device_"
# The salt stays as it was: another one would void what was given out.
SALT = "accounts.devices"
LIFETIME_SECONDS = 365 * 24 * 3600
# Cookies of other accounts that a browser keeps: all of them have to fit into one request's headers.
OTHERS_KEPT = 4


def name_of(request: HttpRequest, user: User) -> str | None:
    """The name of the known device that the request comes from; None where it comes from no such device.

    A cookie counts until the password changes, for a year at most.
    """
    cookie = request.COOKIES.get(_cookie_name(user))
    if not cookie:
        return None
    try:
        held: dict[str, Any] = signing.loads(cookie, salt=_salt(user), max_age=LIFETIME_SECONDS)
        name, stamp = str(held["name"]), str(held["stamp"])
    except (signing.BadSignature, KeyError, TypeError):
        return None
    return name if constant_time_compare(stamp, _stamp(user)) else None


def has_any(request: HttpRequest) -> bool:
    """Whether the browser brings a cookie of this kind at all, good or not."""
    return any(name.startswith(PREFIX) for name in request.COOKIES)


def remember(response: HttpResponseBase, request: HttpRequest, user: User) -> None:
    """Make the browser a known device of the account: after a sign-in, and after its password was changed there."""
    own = _cookie_name(user)
    # A device keeps its name, and with it the count of its failures.
    held = {"name": name_of(request, user) or token_urlsafe(12), "stamp": _stamp(user)}
    response.set_cookie(
        own,
        signing.dumps(held, salt=_salt(user)),
        max_age=LIFETIME_SECONDS,
        httponly=True,
        secure=settings.SESSION_COOKIE_SECURE,
        samesite="Lax",
    )
    others = [name for name in request.COOKIES if name.startswith(PREFIX) and name != own]
    for name in others[OTHERS_KEPT:]:
        response.delete_cookie(name, samesite="Lax")


def _cookie_name(user: User) -> str:
    return PREFIX + salted_hmac(SALT, str(user.pk)).hexdigest()[:16]


def _salt(user: User) -> str:
    return f"{SALT}:{user.pk}"


def _stamp(user: User) -> str:
    """Changes with the password, and tells nothing about it."""
    return salted_hmac(f"{SALT}.password", user.password).hexdigest()
