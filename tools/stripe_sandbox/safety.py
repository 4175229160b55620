"""What a page of another site may not do here, and what our pages may not load."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseForbidden


class SafetyMiddleware:
    """No keys and no cookies guard the pages and controls: only this machine can reach them, and its browser."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Refuses foreign names for this machine, which a page of another site could make up.
        host = request.get_host()
        origin = request.headers.get("Origin")
        if origin not in {None, f"http://{host}"}:
            return HttpResponseForbidden("This request came from a page of another site.\n")
        response = self.get_response(request)
        response.headers.setdefault(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'",
        )
        response["X-Content-Type-Options"] = "nosniff"
        response["Referrer-Policy"] = "same-origin"
        response["Cache-Control"] = "no-store"
        return response
