"""Which organization a signed-in page belongs to. Every page of a tenant asks here and nowhere else."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.functional import SimpleLazyObject

from accounts.models import Membership, Organization, User


class OrganizationRequest(HttpRequest):
    """A request to a page that needs a sign-in, as `OrganizationMiddleware` leaves it."""

    user: User
    membership: Membership
    organization: Organization


P = ParamSpec("P")
MemberView = Callable[Concatenate[OrganizationRequest, P], HttpResponse]
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


class PageSignInMiddleware(LoginRequiredMiddleware):
    """Django's rule that pages need a sign-in, without opening the session of a view that needs none.

    Django looks at the user first and at the view second, so each API call would read a session.
    """

    def process_view(
        self,
        request: HttpRequest,
        view_func: Callable[..., HttpResponseBase],
        view_args: tuple[Any, ...],
        view_kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        if not getattr(view_func, "login_required", True):
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)


def membership_of(user: User) -> Membership | None:
    """The user's membership, the first joined; None for someone who belongs nowhere."""
    return user.memberships.select_related("organization").order_by("created_at", "pk").first()


class OrganizationMiddleware:
    """Puts `membership` and `organization` on each request, looked up when first read; None without a sign-in."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        def membership() -> Membership | None:
            user = request.user
            return membership_of(user) if isinstance(user, User) else None

        def organization() -> Organization | None:
            joined: Membership | None = lazy.membership
            return joined.organization if joined else None

        lazy = cast("OrganizationRequest", request)
        lazy.membership = cast("Membership", SimpleLazyObject(membership))
        lazy.organization = cast("Organization", SimpleLazyObject(organization))
        return self.get_response(request)


def members_only(view: MemberView[P]) -> View[P]:
    """The page of a tenant. Staff without an organization are sent to the admin, others are told why not."""

    @wraps(view)
    def opened(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        member = cast("OrganizationRequest", request)
        joined: Membership | None = member.membership
        if joined:
            return view(member, *args, **kwargs)
        if member.user.is_staff:
            return redirect("admin:index")
        raise PermissionDenied(
            "Your account belongs to no organization any more. Ask an owner to invite you again."
        )

    return cast("View[P]", opened)
