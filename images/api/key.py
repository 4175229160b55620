"""GET /v1/key: a key looks at itself, at its limits and at what it has spent this month."""

from typing import Any

from django.http import JsonResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from accounts.limits.plans import Limits, limits_of, limits_of_key
from accounts.limits.rate_limits import RateLimitStatus
from accounts.models import ApiKey
from billing.ledger import month_to_date
from billing.ledger.month_to_date import MonthToDate
from billing.models import Credit
from images.api import key_settings
from images.api.base import ApiView, caller_key


class KeyDetail(ApiView):
    """What a caller may know of the key that it holds; any live key may ask."""

    def get(self, request: Request) -> HttpResponseBase:
        return JsonResponse(describe(caller_key(request), self.rate_limit_status))


def describe(key: ApiKey, status: RateLimitStatus | None) -> dict[str, Any]:
    """The key as an object. Times are Unix seconds, money is in micros; null is no limit, or never."""
    organization = key.organization
    of_key, of_organization = month_to_date.of_key(key), month_to_date.of(organization)
    credit = Credit.objects.filter(organization=organization).first()
    # What others of the organization spend is the business of keys that may read its usage.
    shows_all = key.may_read_usage
    return {
        "object": "api_key",
        "name": key.name,
        "hint": key.hint,
        "created": int(key.created_at.timestamp()),
        "expires_at": int(key.expires_at.timestamp()) if key.expires_at else None,
        "scopes": key.scopes,
        "allowed_networks": key.allowed_networks,
        "settings": key_settings.describe(key),
        "limits": {
            "key": _limits(limits_of_key(key)),
            "organization": _limits(limits_of(organization)),
        },
        "remaining": {
            "requests": status.requests.remaining if status and status.requests else None,
            "images": status.images.remaining if status and status.images else None,
        },
        "in_flight": {"key": of_key.in_flight, "organization": of_organization.in_flight},
        "spend": {
            "key": _spend(of_key),
            "organization": _spend(of_organization) if shows_all else None,
        },
        "credit_remaining_micros": credit.remaining_micros if credit and shows_all else None,
    }


def _limits(limits: Limits) -> dict[str, int | None]:
    return {
        "requests_per_minute": limits.requests_per_minute,
        "images_per_minute": limits.images_per_minute,
        "images_in_flight": limits.images_in_flight,
    }


def _spend(so_far: MonthToDate) -> dict[str, Any]:
    return {
        "month": f"{so_far.month:%Y-%m}",
        "cap_micros": so_far.cap_micros,
        "spent_micros": so_far.spent_micros,
        "pending_micros": so_far.held_micros,
        "remaining_micros": so_far.remaining_micros,
    }
