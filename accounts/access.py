"""Which organisation a signed-in page speaks for. Every page of a tenant asks here and nowhere else."""

from collections.abc import Callable
from typing import cast

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from accounts.models import Membership, Organization, User


class OrganizationRequest(HttpRequest):
    """A request to a page that needs a sign-in, as `OrganizationMiddleware` leaves it."""

    user: User
    membership: Membership
    organization: Organization


def membership_of(user: User) -> Membership | None:
    """The user's membership, the first joined; None for someone who belongs nowhere."""
    return user.memberships.select_related("organization").order_by("created_at", "pk").first()


class OrganizationMiddleware:
    """Puts `membership` and `organization` on each request, looked up when first read; None for strangers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        def membership() -> Membership | None:
            user = request.user
            return membership_of(user) if isinstance(user, User) else None

        lazy = cast("OrganizationRequest", request)
        lazy.membership = cast("Membership", SimpleLazyObject(membership))
        lazy.organization = cast(
            "Organization",
            SimpleLazyObject(lambda: lazy.membership.organization if lazy.membership else None),
        )
        return self.get_response(request)
