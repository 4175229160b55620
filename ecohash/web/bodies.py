"""The body of a request, whole for every view: also one that is sent in chunks, without a length."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.wsgi import LimitedStream
from django.http import HttpRequest
from django.http.request import UnreadablePostError
from django.http.response import HttpResponseBase

from accounts.http.programs import FORMS
from ecohash import errors


class BodyMiddleware:
    """Django takes a body without Content-Length for an empty one. The server's stream ends by itself, and says so.

    Nothing is read here of the API's bodies and of the webhooks': the key is judged first, and each view has
    its limit. A page's form is read at once. Django's CSRF check would read it next, but takes a form that
    breaks off for one without a token, and one in parts without a length for an empty one.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.META.get("CONTENT_LENGTH") and request.META.get("wsgi.input_terminated"):
            # One byte above the largest limit of a view, so that each sees what is too much.
            whole: Any = LimitedStream(request.META["wsgi.input"], settings.BODY_LIMIT_BYTES + 1)
            request._stream = whole  # noqa: SLF001 - Django has no other way to give it one
        if (
            request.method == "POST"
            and request.content_type in FORMS
            and not errors.is_api(request)
        ):
            try:
                length = len(request.body)
            except (RequestDataTooBig, UnreadablePostError) as error:
                return errors.bad_request(request, error)
            # What reads forms in parts goes by it.
            request.META["CONTENT_LENGTH"] = str(length)
        return self.get_response(request)
