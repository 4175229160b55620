"""How much an organization and each of its keys may ask for: the installation's defaults, or their own."""

from dataclasses import dataclass

from django.conf import settings

from accounts.models import ApiKey, Organization


@dataclass(frozen=True)
class Limits:
    """Figures for one organization or one rotation family of keys; None means no limit."""

    requests_per_minute: int | None
    images_per_minute: int | None
    images_in_flight: int | None


NONE = Limits(None, None, None)


def limits_of(organization: Organization) -> Limits:
    """What all calls of the organization together may do."""
    if organization.limits_lifted:
        return NONE
    return Limits(
        organization.requests_per_minute or settings.REQUESTS_PER_MINUTE,
        organization.images_per_minute or settings.IMAGES_PER_MINUTE,
        organization.images_in_flight or settings.IMAGES_IN_FLIGHT,
    )


def limits_of_key(key: ApiKey) -> Limits:
    """What the key may do within that; usually nothing less."""
    return Limits(key.requests_per_minute, key.images_per_minute, key.images_in_flight)
