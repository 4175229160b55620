"""What every resource of the API has in common: the order in which a call is judged, JSON, the caller's key."""

from typing import Any, cast

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import ApiKey
from accounts.refusals import Refusal
from images import answers


class UnknownPath(Refusal):
    status = 404
    text = "There is nothing at this address. The API's paths begin with /v1/images/generations."


class AlwaysJson(BaseContentNegotiation):
    """The answer is JSON, whatever `Accept` says."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser | None:  # noqa: ARG002
        return None

    def select_renderer(
        self,
        request: Request,  # noqa: ARG002
        renderers: Any,
        format_suffix: str | None = None,  # noqa: ARG002
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], answers.JSON


class ApiView(APIView):
    """One resource of the API. Judged in this order: path, method, key, content type, body."""

    content_negotiation_class = AlwaysJson

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        method = (request.method or "").lower()
        if method not in self.http_method_names or not hasattr(self, method):
            raise MethodNotAllowed(method)
        super().initial(request, *args, **kwargs)

    # DRF would describe the view to whoever asks; the middleware answers OPTIONS before it gets here.
    options = None  # type: ignore[assignment]

    @property
    def allowed_methods(self) -> list[str]:
        return [name.upper() for name in ("get", "post", "delete") if hasattr(self, name)]


def caller_key(request: Request) -> ApiKey:
    """The key that the authentication found."""
    return cast("ApiKey", request.auth)
