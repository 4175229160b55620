"""How tests call the API without a server: through every middleware, and never with an exception raised."""

import json
from collections.abc import Mapping
from typing import Any

from django.http.response import HttpResponseBase
from django.test import Client

GENERATIONS = "/v1/images/generations"
JSON = "application/json"
BODY: dict[str, Any] = {"model": "flux-1-schnell", "prompt": "a red fox", "size": "512x512"}


def call(
    method: str,
    path: str,
    body: Any = b"",
    *,
    content_type: str = JSON,
    headers: Mapping[str, str] | None = None,
    **environ: Any,
) -> Any:
    """One request; an object as `body` is sent as JSON. `environ` is WSGI's.

    A picture that is streamed is on the response as `png`.
    """
    # The client would leave the type of an empty body out; `environ` has the last word.
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    client = Client(raise_request_exception=False)
    response: Any = client.generic(
        method, path, raw, headers=dict(headers or {}), **{"CONTENT_TYPE": content_type} | environ
    )
    if response.streaming:
        response.png = b"".join(response.streaming_content)
        response.close()
    return response


def generate(person: Any = None, **fields: Any) -> Any:
    """POST a generation as that person; `fields` are added to a small valid body, `...` takes one away."""
    body = {name: value for name, value in (BODY | fields).items() if value is not ...}
    return call("POST", GENERATIONS, body, headers=person.headers if person else None)


def error_of(response: HttpResponseBase) -> dict[str, Any]:
    """The error object, after a look at everything that holds for each of them."""
    assert response["Content-Type"] == JSON
    assert response["x-request-id"].startswith("req_")
    assert int(response["openai-processing-ms"]) >= 0
    assert not response.cookies
    body = response.json()  # type: ignore[attr-defined]
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and error["message"]
    return error


def verdict(response: Any) -> tuple[int, str, str | None, str | None]:
    """(status, type, code, param): what a client's exception class and its fields are made of."""
    error = error_of(response)
    return response.status_code, error["type"], error["code"], error["param"]
