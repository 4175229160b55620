"""Who may do what: every role at every page and form that only some roles may use."""

from typing import Any

import pytest
from django.template import engines
from django.test import Client, RequestFactory

from accounts.models import Membership
from accounts.permissions import Permission, may, roles_with
from tests.cast import Person

OWNER, ADMIN, MEMBER, BILLING = Membership.Role
EVERY_ROLE = {OWNER, ADMIN, MEMBER, BILLING}
ALLOWED = {
    Permission.GENERATE: EVERY_ROLE,
    Permission.READ_USAGE: EVERY_ROLE,
    Permission.MAKE_KEYS: {OWNER, ADMIN, MEMBER},
    Permission.MANAGE_BILLING: {OWNER, ADMIN, BILLING},
    Permission.MANAGE_MEMBERS: {OWNER, ADMIN},
}
KEY = "/dashboard/keys/{key}"
Form = tuple[Permission, str, str, dict[str, Any]]
FORMS: list[Form] = [
    (Permission.GENERATE, "post", "/playground", {"prompt": "a red fox", "size": "512x512"}),
    (Permission.READ_USAGE, "get", "/dashboard/usage", {}),
    (Permission.READ_USAGE, "get", "/dashboard/usage.csv", {}),
    (Permission.MAKE_KEYS, "post", "/dashboard/keys", {"name": "New"}),
    (Permission.MAKE_KEYS, "post", KEY, {"name": "Other", "expiry": "keep", "access": "generate"}),
    (Permission.MAKE_KEYS, "get", f"{KEY}/rotate", {}),
    (Permission.MAKE_KEYS, "post", f"{KEY}/rotate", {"overlap": "0"}),
    (Permission.MAKE_KEYS, "get", f"{KEY}/revoke", {}),
    (Permission.MAKE_KEYS, "post", f"{KEY}/revoke", {}),
    (Permission.MANAGE_BILLING, "post", "/dashboard/billing", {"limit": "5"}),
    (Permission.MANAGE_BILLING, "post", "/dashboard/billing/subscribe", {"limit": "5"}),
    (Permission.MANAGE_BILLING, "post", "/dashboard/billing/portal", {}),
    (Permission.MANAGE_BILLING, "get", "/dashboard/billing/invoices", {}),
]
OPEN_TO_ALL = [
    "/dashboard",
    "/playground",
    "/dashboard/requests",
    "/dashboard/keys",
    KEY,
    "/dashboard/billing",
]
WHOM_TO_ASK = {
    Permission.MAKE_KEYS: "Ask an owner, an admin or a member.",
    Permission.MANAGE_BILLING: "Ask an owner, an admin or somebody with the billing role.",
}


def test_every_permission_is_in_the_table() -> None:
    assert set(ALLOWED) == set(Permission)


@pytest.mark.parametrize("permission", Permission)
def test_roles_have_what_the_table_gives_them(permission: Permission) -> None:
    assert {role for role in Membership.Role if may(role, permission)} == ALLOWED[permission]
    assert set(roles_with(permission)) == ALLOWED[permission]
    assert not may(None, permission)


@pytest.mark.parametrize("role", Membership.Role)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form[1]} {form[2]}")
def test_a_role_gets_through_or_reads_whom_to_ask(
    bob: Person, bobs: Client, role: str, form: Form
) -> None:
    permission, method, path, data = form
    Membership.objects.filter(user=bob.user).update(role=role)
    answer = getattr(bobs, method)(path.format(key=bob.key.pk), data)
    if role in ALLOWED[permission]:
        assert answer.status_code in {200, 302, 303}
    else:
        assert answer.status_code == 403
        page = answer.content.decode()
        assert f"Your role in this organization is {role}" in page
        assert WHOM_TO_ASK[permission] in page


@pytest.mark.parametrize("role", Membership.Role)
def test_every_role_reads_the_pages(bob: Person, bobs: Client, role: str) -> None:
    Membership.objects.filter(user=bob.user).update(role=role)
    for path in OPEN_TO_ALL:
        assert bobs.get(path.format(key=bob.key.pk)).status_code == 200, path


@pytest.mark.parametrize("role", Membership.Role)
@pytest.mark.parametrize("permission", Permission)
def test_templates_ask_the_same_table(bob: Person, role: str, permission: Permission) -> None:
    request: Any = RequestFactory().get("/")
    template = engines["django"].from_string(f"{{{{ may.{permission.name.lower()} }}}}")
    assert template.render({}, request) == "False"  # a page without a member
    request.membership = Membership(user=bob.user, organization=bob.organization, role=role)
    assert template.render({}, request) == str(role in ALLOWED[permission])
