"""Who calls the API: a bearer key and nothing else. Sessions count for nothing here, so there is no CSRF."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.http.addresses import Address, caller_address, network_of
from accounts.http.refusals import Refusal
from accounts.keys import keys
from accounts.limits import buckets
from accounts.limits.gcra import Bucket
from accounts.models import ApiKey

CHALLENGE = {"WWW-Authenticate": "Bearer"}
# What one process lets an address get wrong in a minute while Redis is away.
FAILURES_ALONE = 60


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


class TooManyFailures(Refusal):
    """The address has sent too many calls without a valid key; one with a valid key would still get in."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            "Rate limit reached: too many calls without a valid API key came from your address. "
            f"Check your key, and try again in {seconds} seconds."
        )
        self.headers = {"Retry-After": str(seconds)}


class ApiKeyUser(AnonymousUser):
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
        TooManyFailures: in place of either, where the address has failed too often in a minute.
    """

    def authenticate(self, request: Request) -> tuple[ApiKeyUser, ApiKey]:
        scheme, _, secret = request.headers.get("Authorization", "").strip().partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise count_failure(request, MissingApiKey())
        key = keys.find(secret)
        if key is None:
            raise count_failure(request, InvalidApiKey())
        keys.note_use(key)
        return ApiKeyUser(key), key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - the signature is DRF's
        return CHALLENGE["WWW-Authenticate"]


def count_failure(request: Request, refusal: Refusal) -> Refusal:
    """The refusal, counted against the caller's address; TooManyFailures once that has no more of them.

    Only those who fail are counted, and only after the look-up: a key that works is accepted from
    any address.
    """
    outcome = buckets.take([(bucket_of_failures(caller_address(request.META)), 1)])
    if outcome.refused is None:
        return refusal
    return TooManyFailures(buckets.retry_after(outcome.wait_seconds))


def bucket_of_failures(address: Address | None) -> Bucket:
    """The bucket of failed calls from the network of that address."""
    name = f"failures:{network_of(address)}"
    return Bucket(name, settings.FAILED_AUTHENTICATIONS_PER_MINUTE, FAILURES_ALONE)
