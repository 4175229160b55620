"""Who may open a signed-in page: members of an organisation, and for some pages only certain roles."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.access import OrganizationRequest
from accounts.models import Membership

P = ParamSpec("P")
MemberView = Callable[Concatenate[OrganizationRequest, P], HttpResponse]
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

KEY_MAKERS = {Membership.Role.OWNER, Membership.Role.ADMIN, Membership.Role.MEMBER}


def members_only(view: MemberView[P]) -> View[P]:
    """The page of a tenant. Staff who belong nowhere are sent to the admin, others are told why not."""

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


def may_make_keys(membership: Membership) -> bool:
    """Whether this member's role lets them make and revoke API keys."""
    return membership.role in KEY_MAKERS


def require_key_maker(membership: Membership) -> None:
    """Let those pass who may make and revoke API keys.

    Raises:
        PermissionDenied: the role is billing.
    """
    if not may_make_keys(membership):
        raise PermissionDenied(
            "Your role in this organization is billing, which sees money but makes no API keys. "
            "Ask an owner or an admin to make the key, or to change your role."
        )
