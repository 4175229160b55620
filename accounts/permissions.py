"""What each role may do in its organization. Pages, mails and templates ask here and nowhere else."""

from collections.abc import Callable
from enum import Enum
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from accounts.access import MemberView, OrganizationRequest, P, View, members_only
from accounts.models import Membership

Role = Membership.Role


class Permission(Enum):
    """Something that only some roles may do; the value completes the sentence "your role may not …"."""

    GENERATE = "make pictures"
    READ_USAGE = "read usage"
    MAKE_KEYS = "make, change or revoke API keys"
    MANAGE_BILLING = "pay, see invoices or set the spend limit"
    # No page yet: members are made by commands. Mails about leaked keys go to those who have it.
    MANAGE_MEMBERS = "add or remove members"


_EVERY_ROLE = {Permission.GENERATE, Permission.READ_USAGE}
PERMISSIONS = {
    Role.OWNER: set(Permission),
    Role.ADMIN: set(Permission),
    Role.MEMBER: {*_EVERY_ROLE, Permission.MAKE_KEYS},
    Role.BILLING: {*_EVERY_ROLE, Permission.MANAGE_BILLING},
}
_SOMEBODY = {
    Role.OWNER: "an owner",
    Role.ADMIN: "an admin",
    Role.MEMBER: "a member",
    Role.BILLING: "somebody with the billing role",
}


def may(who: Membership | Role | None, permission: Permission) -> bool:
    """Whether this member or role may do that; False for who belongs nowhere."""
    role = who.role if isinstance(who, Membership) else who
    return role is not None and permission in PERMISSIONS[Role(role)]


def roles_with(permission: Permission) -> list[Role]:
    """The roles that may do that, the owner's first."""
    return [role for role, granted in PERMISSIONS.items() if permission in granted]


def require(membership: Membership, permission: Permission) -> None:
    """Let pass who may do that.

    Raises:
        PermissionDenied: the role may not; the text names the roles that may.
    """
    if may(membership, permission):
        return
    *first, last = (_SOMEBODY[role] for role in roles_with(permission))
    raise PermissionDenied(
        f"Your role in this organization is {membership.role}, which may not {permission.value}. "
        f"Ask {', '.join(first)} or {last}."
    )


def requires(permission: Permission) -> Callable[[MemberView[P]], View[P]]:
    """A view for members whose role may do that; others get the 403 page of `require`."""

    def decorator(view: MemberView[P]) -> View[P]:
        @members_only
        @wraps(view)
        def permitted(
            request: OrganizationRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponse:
            require(request.membership, permission)
            return view(request, *args, **kwargs)

        return permitted

    return decorator


def template_context(request: HttpRequest) -> dict[str, Any]:
    """`may` in every template, as in `{% if may.make_keys %}`; a page that does not ask costs no query."""

    def reader_may() -> dict[str, bool]:
        membership: Membership | None = getattr(request, "membership", None)
        return {each.name.lower(): may(membership, each) for each in Permission}

    return {"may": SimpleLazyObject(reader_may)}
