"""How every error reaches its sender: a program gets JSON in OpenAI's shape, a browser a page.

No page may reach a program, at whatever address: its SDK would show "404 status code (no body)".
"""

import logging

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from django.shortcuts import render
from django.views import csrf
from rest_framework.exceptions import APIException, MethodNotAllowed

from accounts.http.programs import is_browser, is_program, not_safe
from accounts.http.refusals import Refusal
from images.api.body import UNREADABLE
from images.api.encodings import MalformedBody, RequestTooLarge
from images.api.unknown_paths import UnknownPath, explain, where_the_api_is

logger = logging.getLogger(__name__)

NOT_UNDERSTOOD = "The request could not be understood. Check its address, headers and body."


class MethodRefused(Refusal):
    status = 405
    code = "method_not_allowed"

    def __init__(self, allowed: list[str], text: str = "") -> None:
        super().__init__(text or f"This address answers {', '.join(allowed)} only.")
        self.headers = {"Allow": ", ".join(allowed)}


class ServerFault(Refusal):
    status = 500
    type = "server_error"
    text = (
        "Something went wrong on our side. Try again; if it stays, tell us the x-request-id of "
        "this answer."
    )


class DatabaseAway(Refusal):
    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"
    headers = {"Retry-After": "5"}
    text = "The service is not available right now. Please try again in a few seconds."


class PageRefused(Refusal):
    """A page would not answer a program's call; it is told where the API is."""

    status = 403

    def __init__(self, text: str = "") -> None:
        super().__init__(text or page_for_browsers())


class RefusalAnswer(JsonResponse):
    """A refusal as a program gets it, at whatever address."""


def is_api(request: HttpRequest) -> bool:
    """Whether the address is one of the API's, whoever asks."""
    return request.path in {"/v1", "/i"} or request.path.startswith(("/v1/", "/i/"))


def wants_json(request: HttpRequest) -> bool:
    """Whether an error has to be JSON: the address is the API's, or the sender is a program."""
    return is_api(request) or is_program(request)


def rendered(refusal: Refusal) -> RefusalAnswer:
    """The refusal as an answer."""
    return RefusalAnswer(refusal.body(), status=refusal.status, headers=dict(refusal.headers))


def page_for_browsers() -> str:
    return f"This address is a page for browsers. {where_the_api_is()}"


def page_answer(request: HttpRequest) -> RefusalAnswer:
    """What a program gets at the address of a page, which nothing but a browser can use."""
    if not_safe(request):
        return rendered(MethodRefused(["GET", "HEAD"], page_for_browsers()))
    return rendered(UnknownPath(page_for_browsers()))


def refusal_for(error: Exception, allowed: list[str]) -> Refusal:
    """The refusal for an exception. An unexpected one is logged, and is a 500 or 503."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MethodNotAllowed):
        return MethodRefused(allowed)
    if isinstance(error, Http404):
        return UnknownPath()
    if isinstance(error, RequestDataTooBig | UnreadablePostError):
        too_large = isinstance(error, RequestDataTooBig)
        return RequestTooLarge() if too_large else MalformedBody(UNREADABLE)
    of_the_client = isinstance(error, APIException) and error.status_code < ServerFault.status
    if of_the_client or isinstance(error, SuspiciousOperation):
        return MalformedBody(NOT_UNDERSTOOD)
    logger.error("request failed", exc_info=error)
    return DatabaseAway() if isinstance(error, OperationalError | InterfaceError) else ServerFault()


def api_exception_handler(error: Exception, context: dict[str, object]) -> HttpResponse:
    """DRF's handler: every exception of an API view."""
    return rendered(refusal_for(error, getattr(context["view"], "allowed_methods", [])))


def _page(request: HttpRequest, status: int, template: str, refusal: Refusal) -> HttpResponse:
    if wants_json(request):
        return rendered(refusal)
    return render(request, template, status=status)


# Django calls these by the name of their parameter.
def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler400; 413 where a form is too large."""
    if isinstance(exception, RequestDataTooBig):
        return _page(request, 413, "413.html", RequestTooLarge())
    return _page(request, 400, "400.html", MalformedBody(NOT_UNDERSTOOD))


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler403; the page shows the words of the exception."""
    reason = str(exception) if isinstance(exception, PermissionDenied) else ""
    if wants_json(request):
        return rendered(PageRefused(reason))
    return render(request, "403.html", {"reason": reason}, status=403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001
    """Django's handler404. No form of ours leads to an address that there is not."""
    unknown = request.resolver_match is None
    if unknown and not_safe(request) and not is_browser(request):
        return rendered(UnknownPath(explain(request)))
    return _page(request, 404, "404.html", UnknownPath(explain(request)))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW. Browsers say of each form that they send that they take a page."""
    if not is_browser(request):
        return rendered(PageRefused())
    return csrf.csrf_failure(request, reason)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500; the page needs no database and no context processor."""
    return rendered(ServerFault()) if wants_json(request) else render(None, "500.html", status=500)
