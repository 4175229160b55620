"""Requests for a host that is not served here: the answer says so, in development with the setting that allows it."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render

from accounts.http.refusals import Refusal
from ecohash import errors
from ecohash.configuration.environment import HOST
from ecohash.configuration.logs import redact

LONGEST_HOST = 253  # characters of a name in DNS


class UnknownHost(Refusal):
    """The Host header names no host of `ALLOWED_HOSTS`."""

    status = 400
    text = "This host is not served here. Check the address that you call."


class HostMiddleware:
    """Django would answer from inside CommonMiddleware: with a page of its own while DEBUG is on, also under /v1."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            request.get_host()
        except DisallowedHost:
            refusal = UnknownHost(None if settings.PRODUCTION else how_to_allow(request))
            if errors.wants_json(request):
                return errors.rendered(refusal)
            return render(request, "400.html", {"reason": str(refusal)}, status=refusal.status)
        return self.get_response(request)


def how_to_allow(request: HttpRequest) -> str:
    """What a developer has to do; it names the host, unless the header holds something else."""
    sent = request.META.get("HTTP_HOST", "")
    # The colon of a port stands behind the last bracket.
    host = sent if sent.endswith("]") else sent.rpartition(":")[0] or sent
    instead = f"or call {settings.BASE_URL}."
    if len(host) > LONGEST_HOST or not host.isascii() or not HOST.fullmatch(host) or host == "*":
        return (
            f"The Host header holds no name of a host. Check the address that you call, {instead}"
        )
    if "_" in host:
        return (
            f"The host '{redact(host)}' is not served: names of hosts hold no underscore. Call it by another "
            f"name that is in ALLOWED_HOSTS, {instead}"
        )
    return (
        f"The host '{redact(host)}' is not served here. Add it to ALLOWED_HOSTS (in .env, without the port) and "
        f"start again, {instead}"
    )
