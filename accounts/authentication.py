"""Who calls the API: a bearer key and nothing else. Sessions do not open this door, so there is no CSRF."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts import keys
from accounts.models import ApiKey
from accounts.refusals import Refusal

CHALLENGE = {"WWW-Authenticate": "Bearer"}


class MissingApiKey(Refusal):
    status = 401
    headers = CHALLENGE
    text = (
        "You didn't provide an API key. Send it in the Authorization header, as "
        "'Authorization: Bearer eco_...'. You can make one on the dashboard's Keys page."
    )


class InvalidApiKey(Refusal):
    status = 401
    code = "invalid_api_key"
    headers = CHALLENGE
    text = (
        "This API key is not valid: it may be mistyped, revoked or from another server. "
        "Make a new one on the dashboard's Keys page."
    )


class Caller(AnonymousUser):
    """What `request.user` is on the API: no person, but a key that works."""

    def __init__(self, key: ApiKey) -> None:
        self.key = key

    @property
    def is_authenticated(self) -> Any:
        return True


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer eco_...`; afterwards `request.auth` is the ApiKey row.

    Raises:
        MissingApiKey: no header, another scheme, or nothing after the word Bearer.
        InvalidApiKey: not a key, or not one that is live.
    """

    def authenticate(self, request: Request) -> tuple[Caller, ApiKey]:
        scheme, _, secret = request.headers.get("Authorization", "").strip().partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise MissingApiKey
        key = keys.find(secret)
        if key is None:
            raise InvalidApiKey
        keys.note_use(key)
        return Caller(key), key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - the signature is DRF's
        return CHALLENGE["WWW-Authenticate"]
