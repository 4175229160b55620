"""Adds to every answer a request id, its time, a log line, cache headers, and CORS for API clients."""

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.request import UnreadablePostError
from django.http.response import HttpResponseBase
from django.urls import resolve
from django.utils.cache import patch_cache_control

from accounts.http import request_id
from accounts.http.programs import asks_for_key_headers, carries_key_or_json
from accounts.http.refusals import Refusal
from accounts.keys import key_format
from ecohash import errors

logger = logging.getLogger(__name__)

EXPOSED = (
    "x-request-id",
    "openai-processing-ms",
    "retry-after",
    "x-should-retry",
    "x-ecohash-cost-micros",
    "x-ecohash-generation-id",
    "x-ecohash-engine",
    "x-ecohash-prompt-tokens",
    "x-ecohash-ignored",
    "x-ecohash-model",
    "x-ecohash-requested-size",
    "x-ecohash-prompt-tokens-unknown",
    "idempotent-replayed",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-images",
    "x-ratelimit-remaining-images",
    "x-ratelimit-reset-images",
)
# A header's name (RFC 9110, 5.6.2). SDKs add new ones each month, and none of them opens anything.
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
PREFLIGHT_SECONDS = 86_400
# Load balancers ask by address, and without TLS: answered before anything looks at the Host header.
HEALTH = {"/healthz", "/readyz"}


class RequestMiddleware:
    """The outermost middleware, so that it sees every answer, whatever fails further in."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        current = request_id.new()
        with request_id.working_for(current):
            api = errors.is_api(request)
            if (api and request.method == "OPTIONS") or asks_for_key_headers(request):
                # At a wrong address too: else a browser keeps from its program where the API is.
                api = True
                response = preflight(request)
            elif request.path_info in HEALTH and request.method in {"GET", "HEAD"}:
                response = health_answer(request)
            elif "\0" in request.path_info:
                response = errors.not_found(request)
            elif holds_nul(request):
                response = errors.bad_request(request)
            else:
                response = self.get_response(request)
            if isinstance(response, HttpResponseNotAllowed) and errors.wants_json(request):
                allowed = response["Allow"].split(", ")
                response = errors.rendered(errors.MethodRefused(allowed))
            milliseconds = round((time.perf_counter() - started) * 1000)
            response["x-request-id"] = current
            refused = isinstance(response, errors.RefusalAnswer)
            if api or refused:
                add_api_headers(response, milliseconds)
            if not api and (refused or is_personal(request, response)):
                patch_cache_control(response, private=True, no_store=True)
            logger.info(
                "request",
                extra={
                    "method": request.method,
                    "route": route_of(request),
                    "status": response.status_code,
                    "ms": milliseconds,
                },
            )
        return response

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., HttpResponseBase], *_arguments: Any
    ) -> HttpResponse | None:
        """Programs do not reach pages, which would send them to the sign-in or ask for a form's token."""
        if getattr(view_func, "csrf_exempt", False) or not carries_key_or_json(request):
            return None
        return errors.page_answer(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Refusals raised by plain views, faults under /v1 that DRF does not see, and bodies that broke off."""
        if isinstance(error, Refusal) or errors.is_api(request):
            return errors.rendered(errors.refusal_for(error, ["GET", "HEAD"]))
        if isinstance(error, UnreadablePostError):
            return errors.bad_request(request)
        return None


def add_api_headers(response: HttpResponseBase, milliseconds: int) -> None:
    """What each answer in the API's form carries beside its id; `milliseconds` is how long it took."""
    # A browser on our own pages may send one; the API neither reads nor changes it.
    response.cookies.clear()
    response["openai-processing-ms"] = str(milliseconds)
    response["Access-Control-Allow-Origin"] = "*"
    response["Access-Control-Expose-Headers"] = ", ".join(EXPOSED)
    # Hosted pictures say themselves how long they may be kept.
    response.headers.setdefault("Cache-Control", "no-store")


def route_of(request: HttpRequest) -> str:
    """The pattern that the address matched. The address itself can hold a secret: a reset
    or verification link, a picture's token, a key that somebody pasted into the wrong place.
    """
    match = request.resolver_match
    return match.route if match else "none"


def is_personal(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether a page is for one reader: it needs a sign-in, the reader has a session, or it sets a cookie.

    Whatever holds a form sets one, for its CSRF token. Public pages are personal too once somebody has
    signed in, for they name the account. Static files say that they are public.
    """
    if "public" in response.headers.get("Cache-Control", ""):
        return False
    match = request.resolver_match
    needs_sign_in = match is not None and getattr(match.func, "login_required", True)
    return (
        needs_sign_in or settings.SESSION_COOKIE_NAME in request.COOKIES or bool(response.cookies)
    )


def health_answer(request: HttpRequest) -> HttpResponse:
    """The answer of the health view, without the other middleware."""
    request.resolver_match = resolve(request.path_info)
    response: HttpResponse = request.resolver_match.func(request)
    return response


def holds_nul(request: HttpRequest) -> bool:
    """Whether a NUL is in the query or a cookie. PostgreSQL's text cannot hold it, and none of ours has one.

    A cookie can bring one through any server: in quotes, as an escape that Django undoes. The API reads none.
    """
    if "%00" in request.META.get("QUERY_STRING", ""):
        return True
    return not errors.is_api(request) and any(
        "\0" in name or "\0" in value for name, value in request.COOKIES.items()
    )


def preflight(request: HttpRequest) -> HttpResponse:
    """The answer to a CORS preflight, which needs no key."""
    asked = request.headers.get("Access-Control-Request-Headers", "").lower().split(",")
    # Whoever sends a key as a name does not find it in an answer, which somebody may keep.
    allowed = [
        name
        for name in map(str.strip, asked)
        if HEADER_NAME.fullmatch(name) and not key_format.FORM.search(name)
    ]
    response = HttpResponse(status=204)
    response["Access-Control-Allow-Methods"] = "GET, POST, DELETE, OPTIONS"
    response["Access-Control-Allow-Headers"] = ", ".join(allowed)
    response["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    if not settings.PRODUCTION and "Access-Control-Request-Private-Network" in request.headers:
        # Chrome asks before a page from the internet may call a developer's own machine.
        response["Access-Control-Allow-Private-Network"] = "true"
    return response
