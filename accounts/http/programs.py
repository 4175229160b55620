"""Whether a request was sent by a program or by a browser that shows a page. Whoever forges it harms nobody else."""

import re

from django.http import HttpRequest

# No page of ours sends JSON, and no form is of another type than these.
JSON = re.compile(r"(?:application|text)/(?:[\w.-]+\+)?(?:json|x-ndjson|jsonl)", re.ASCII)
FORMS = {"application/x-www-form-urlencoded", "multipart/form-data"}
SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}
# Where clients of other services put a key.
KEY_HEADERS = (
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-openai-api-key",
    "openai-api-key",
    "ocp-apim-subscription-key",
    "x-auth-token",
)
KEY_BEGINS = "eco_"


def carries_key_or_json(request: HttpRequest) -> bool:
    """Whether no page can be meant: the request has a JSON body, or a key.

    A key that is not ours does not count where a browser sends it: proxies that sign people in add
    a bearer token of their own to each request.
    """
    if JSON.fullmatch(request.content_type or "") and has_body(request):
        return True
    authorization = request.headers.get("Authorization", "")
    sent = [authorization, *(request.headers.get(name, "") for name in KEY_HEADERS)]
    if any(KEY_BEGINS in value for value in sent):
        return True
    scheme, _, token = authorization.partition(" ")
    has_key = (scheme.lower() == "bearer" and bool(token.strip())) or any(sent[1:])
    return has_key and not is_browser(request)


def is_program(request: HttpRequest) -> bool:
    """Whether an error should be JSON: the sender has a key, speaks JSON, or posts what is no form."""
    if carries_key_or_json(request):
        return True
    if is_browser(request):
        return False
    accepts_json = "json" in request.headers.get("Accept", "").lower()
    return accepts_json or (not_safe(request) and request.content_type not in FORMS)


def is_browser(request: HttpRequest) -> bool:
    """Whether the sender shows pages, or is a script of our pages."""
    accepts_pages = "text/html" in request.headers.get("Accept", "").lower()
    return accepts_pages or "HX-Request" in request.headers


def has_body(request: HttpRequest) -> bool:
    """Whether a body may follow: some clients name its type with a GET, too."""
    return not_safe(request) or request.META.get("CONTENT_LENGTH", "") not in {"", "0"}


def not_safe(request: HttpRequest) -> bool:
    """Whether the method may change something (RFC 9110, 9.2.1)."""
    return request.method not in SAFE


def asks_for_key_headers(request: HttpRequest) -> bool:
    """Whether this is a browser's preflight for a program that sends a key or JSON from another site."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return False
    asked = request.headers.get("Access-Control-Request-Headers", "").lower().split(",")
    return not {"authorization", "content-type", *KEY_HEADERS}.isdisjoint(map(str.strip, asked))
