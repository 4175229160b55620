"""Who calls the API: a bearer key and nothing else. Sessions count for nothing here, so there is no CSRF."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.http.addresses import Address, caller_address, network_of
from accounts.http.refusals import Refusal
from accounts.keys import keys, wrong_keys
from accounts.limits import buckets
from accounts.limits.gcra import Bucket
from accounts.models import ApiKey

CHALLENGE = {"WWW-Authenticate": "Bearer"}
# What one process lets an address get wrong in a minute while Redis is away.
FAILURES_ALONE = 60


class MissingApiKey(Refusal):
    """No bearer key came; the text says what came in its place."""

    status = 401
    headers = CHALLENGE
    text = f"You didn't provide an API key. {wrong_keys.HOW}"


class InvalidApiKey(Refusal):
    """The key does not work; the text says why, to who holds all of it."""

    status = 401
    code = "invalid_api_key"
    headers = CHALLENGE
    text = f"This API key is not valid. {wrong_keys.NEW_KEY}"


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
            count_failure(request)
            query = request.META.get("QUERY_STRING", "")
            raise MissingApiKey(wrong_keys.missing_key_text(request.headers, query))
        key = keys.find(secret)
        if key is None:
            count_failure(request)
            raise InvalidApiKey(wrong_keys.invalid_key_text(secret))
        keys.note_use(key)
        return ApiKeyUser(key), key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - the signature is DRF's
        return CHALLENGE["WWW-Authenticate"]


def count_failure(request: Request) -> None:
    """Count one failed call against the caller's address.

    Only those who fail are counted, and only after the look-up: a key that works is accepted from
    any address.

    Raises:
        TooManyFailures: the address has no more of them.
    """
    outcome = buckets.take([(bucket_of_failures(caller_address(request.META)), 1)])
    if outcome.refused is not None:
        raise TooManyFailures(buckets.retry_after(outcome.wait_seconds))


def bucket_of_failures(address: Address | None) -> Bucket:
    """The bucket of failed calls from the network of that address."""
    name = f"failures:{network_of(address)}"
    return Bucket(name, settings.FAILED_AUTHENTICATIONS_PER_MINUTE, FAILURES_ALONE)
