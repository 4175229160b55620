"""What a caller asks for, once it has been found valid."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.conf import settings

from accounts.http.addresses import Address
from accounts.models import ApiKey, Organization, User

DEADLINE_SECONDS: int = settings.REQUEST_DEADLINE_SECONDS


@dataclass(frozen=True)
class IdempotentCall:
    """What tells one call from another: its Idempotency-Key, or the body it came with.

    Both as SHA-256: a key may be anything, a secret in the wrong place too.
    """

    body_digest: str
    key: str | None
    # Which automatic retry of a client this is; 0 for a first try.
    retry_count: int = 0


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One image for one caller: who asks, what for, and how the call came.

    A call of the API has `api_key` and the `address` that it comes from, a run of the playground has
    `user`. Without `seed` a random one is chosen.
    """

    organization: Organization
    api_key: ApiKey | None = None
    user: User | None = None
    address: Address | None = None

    model: str
    prompt: str
    size: str
    seed: int | None = None
    response_format: str = "b64_json"

    request_id: str
    deadline_seconds: float = DEADLINE_SECONDS
    call: IdempotentCall | None = None
    # What this call is told beside the image, such as what of it was ignored.
    answer_headers: Mapping[str, str] = field(default_factory=dict)
