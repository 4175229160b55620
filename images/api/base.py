"""What every resource of the API has in common: the order in which a call is judged, JSON, the caller's
key with what it may do, and the headers that say what it has left.
"""

import logging
from typing import Any, ClassVar, cast

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.callers import check_permissions
from accounts.http.addresses import caller_address
from accounts.keys.authentication import InvalidApiKey
from accounts.limits import rate_limits
from accounts.limits.rate_limits import RateLimitStatus
from accounts.models import ApiKey
from images.api import answers

logger = logging.getLogger(__name__)


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
    # What a key must be allowed to do; None: any live key will do.
    scope: ClassVar[str | None] = None
    # The caller's key and the rate limits as last read; None until the key is known.
    key: ApiKey | None = None
    rate_limit_status: RateLimitStatus | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        method = (request.method or "").lower()
        if method not in self.http_method_names or not hasattr(self, method):
            raise MethodNotAllowed(method)
        super().initial(request, *args, **kwargs)
        self.key = caller_key(request)
        check_permissions(key=self.key, scope=self.scope, address=caller_address(request.META))
        if method != "post":
            # A generation takes a request and an image together, once its body has proved to be valid.
            self.charge_request()

    def charge_request(self) -> None:
        """Take one request from the caller's limits.

        Raises:
            RateLimitExceeded: there is none left.
        """
        key = caller_key(self.request)
        self.rate_limit_status = rate_limits.take(organization=key.organization, api_key=key)

    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, InvalidApiKey):
            # The key was live when the call began; its limits are not told any more.
            self.key = None
        # A refusal by the rate limits has just read them.
        self.rate_limit_status = getattr(exc, "rate_limit_status", None) or self.rate_limit_status
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        answer = super().finalize_response(request, response, *args, **kwargs)
        for name, value in self.limit_headers().items():
            answer[name] = value
        return answer

    def limit_headers(self) -> dict[str, str]:
        """What the caller has left, for every answer to a valid key; nothing for anyone else."""
        if self.key is None:
            return {}
        try:
            rate_limit_status = self.rate_limit_status or rate_limits.look(
                organization=self.key.organization, api_key=self.key
            )
            return rate_limit_status.headers()
        except Exception:
            # The picture may be drawn and paid for: it must not be lost for want of a header.
            logger.exception("rate limit headers left out")
            return {}

    # DRF would describe the view to anybody; the middleware answers OPTIONS before it gets here.
    options = None  # type: ignore[assignment]

    @property
    def allowed_methods(self) -> list[str]:
        return [name.upper() for name in ("get", "post", "delete") if hasattr(self, name)]


def caller_key(request: Request) -> ApiKey:
    """The key that the authentication found."""
    return cast("ApiKey", request.auth)
