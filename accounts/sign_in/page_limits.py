"""How often the forms of accounts may be sent. Sign-in counts failures too (attempts.py), and mails are counted by mailbox."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from accounts.http.addresses import caller_address, network_of
from accounts.limits import buckets
from accounts.limits.gcra import Bucket
from accounts.models import User
from accounts.sign_in import devices

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True)
class PageLimit:
    """`amount` POSTs in `minutes`, of one network or of one person; `alone` of them while Redis is away."""

    name: str
    per: Literal["network", "user"]
    amount: int
    alone: int
    minutes: int

    def bucket(self, request: HttpRequest) -> Bucket:
        """The bucket that this request takes from."""
        who = network_of(caller_address(request.META))
        if self.per == "user" and request.user.is_authenticated:
            who = f"user:{request.user.pk}"
        return Bucket(f"page:{self.name}:{who}", self.amount, self.alone, self.minutes)


def sign_up() -> PageLimit:
    """The limit of the settings, read when a form is sent."""
    hourly = settings.SIGN_UPS_PER_ADDRESS_PER_HOUR
    return PageLimit("sign-up", "network", hourly, math.ceil(hourly / 4), 60)


SIGN_IN = PageLimit("sign-in", "network", 60, 30, 1)
SEND_AGAIN = PageLimit("send-again", "network", 20, 10, 10)
RESET = PageLimit("reset", "network", 20, 10, 10)
RESET_FROM_KEY = PageLimit("reset-from-key", "network", 20, 10, 1)
# Each guess at the old password is one of these: a stolen session must not find it out.
CHANGE_PASSWORD = PageLimit("change-password", "user", 10, 5, 360)
# Each address that is added gets a mail.
MANAGE_EMAIL = PageLimit("manage-email", "user", 10, 5, 10)
CONFIRM = PageLimit("confirm", "user", 10, 5, 1)


def limited(view: View, limit: PageLimit | Callable[[], PageLimit]) -> View:
    """The view, with a 429 page in place of a POST that is one too many."""

    @wraps(view)
    def counted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST":
            in_force = limit if isinstance(limit, PageLimit) else limit()
            outcome = buckets.take([(in_force.bucket(request), 1)])
            if outcome.refused is not None:
                return too_many_requests(request, outcome.wait_seconds)
        return view(request, *args, **kwargs)

    return counted


def too_many_requests(request: HttpRequest, wait_seconds: float) -> HttpResponse:
    """The page that says to wait."""
    response = render(request, "429.html", status=429)
    response["Retry-After"] = str(max(math.ceil(wait_seconds), 1))
    return response


def remembers_device(view: View) -> View:
    """A view that changes the password: the browser that did so stays a known device."""

    @wraps(view)
    def changed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        before = getattr(request.user, "password", None)
        response = view(request, *args, **kwargs)
        user = request.user
        if isinstance(user, User) and user.password != before:
            devices.remember(response, request, user)
        return response

    return changed
