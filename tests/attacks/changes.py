"""What owners, staff and clocks change while a caller's body is under way; run by `beside.py`.

Each takes and returns what JSON can hold.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.utils import timezone

from accounts.keys import keys, rotation
from accounts.keys.leak_reports import Finding
from accounts.models import ApiKey, Membership, Organization, User
from billing.ledger import budgets, holds, pricing
from billing.models import Budget, Credit, Hold
from billing.subscriptions import syncing
from ecohash.signup import sign_up
from ecohash.web import leaked_keys
from images.models import Generation

CREDIT_MICROS = 500_000


def new_owner(
    *, credit_micros: int = CREDIT_MICROS, lives_seconds: float | None = None, staff: bool = False
) -> dict[str, Any]:
    """Somebody with an organization, a key and a session of their own."""
    number = User.objects.count()
    user = User.objects.create_user(
        f"owner{number}@example.com", is_staff=staff, is_superuser=staff
    )
    organization = sign_up(user=user, trial_credit_micros=credit_micros)
    ends = timezone.now() + timedelta(seconds=lives_seconds) if lives_seconds else None
    key, secret = keys.mint(organization=organization, name="Laptop", expires_at=ends)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return {
        "user": user.pk,
        "organization": organization.pk,
        "key": key.pk,
        "secret": secret,
        "session": session.session_key,
    }


def was_let_in(*, key: int) -> bool:
    """Whether a call with this key was let in."""
    return ApiKey.objects.filter(pk=key, last_used_at__isnull=False).exists()


def is_live(*, key: int) -> bool:
    return ApiKey.objects.live().filter(pk=key).exists()


def books(*, organization: int) -> list[Any]:
    """Everything that an admitted call would change."""
    credit = Credit.objects.get(organization=organization)
    budget = Budget.objects.filter(organization=organization, api_key=None).first()
    return [
        Hold.objects.filter(organization=organization).count(),
        Generation.objects.filter(organization=organization).count(),
        Generation.objects.filter(organization=organization, joined_at__isnull=False).count(),
        [credit.pending_micros, credit.posted_micros],
        [budget.in_flight, budget.pending_micros, budget.posted_micros] if budget else [0, 0, 0],
    ]


def cast(*, user: int, organization: int) -> list[Any]:
    """Everything that the forms of a dashboard would change."""
    own = ApiKey.objects.filter(organization=organization).order_by("pk")
    return [
        list(own.values_list("name", "may_generate")),
        [bool(key.revoked_at or key.expires_at) for key in own],
        Organization.objects.get(pk=organization).monthly_cap_micros,
        User.objects.get(pk=user).first_name,
        Credit.objects.get(organization=organization).granted_micros,
    ]


def revoke(*, key: int) -> None:
    keys.revoke(ApiKey.objects.get(pk=key))


def report_leak(*, secret: str) -> None:
    report = Finding(token=secret, type="ecohash_api_key", place="example.com/leak")
    leaked_keys.answer(report)


def expire(*, key: int) -> None:
    keys.change(key=ApiKey.objects.get(pk=key), name="Laptop", expires_at=timezone.now())


def rotate(*, key: int) -> None:
    rotation.rotate(key=ApiKey.objects.get(pk=key), overlap=timedelta(0), created_by=None)


def narrow(*, key: int, **terms: Any) -> None:
    row = ApiKey.objects.get(pk=key)
    keys.change(key=row, name=row.name, expires_at=row.expires_at, **terms)


def delete_key(*, key: int) -> None:
    ApiKey.objects.get(pk=key).delete()


def freeze(*, organization: int) -> None:
    row = syncing.get_or_create(Organization.objects.get(pk=organization))
    row.frozen_at = timezone.now()
    row.save()


def set_cap(*, organization: int, micros: int) -> None:
    budgets.set_cap(organization=Organization.objects.get(pk=organization), cap_micros=micros)


def fill_places(*, organization: int) -> None:
    """One image in work, and room for no other."""
    Organization.objects.filter(pk=organization).update(images_in_flight=1)
    _hold(organization)


def spend_credit(*, organization: int) -> None:
    """All of it: the owner has credit for one image."""
    with transaction.atomic():
        holds.capture(_hold(organization))


def _hold(organization: int) -> Hold:
    price = pricing.price_of(model="flux-1-schnell", size="512x512")
    with transaction.atomic():
        row = Organization.objects.get(pk=organization)
        return holds.place(organization=row, api_key=None, price=price)


def deactivate(*, user: int) -> None:
    User.objects.filter(pk=user).update(is_active=False)


def remove_member(*, user: int) -> None:
    Membership.objects.filter(user=user).delete()


def demote(*, user: int) -> None:
    """To a role that may neither make keys nor set limits."""
    Membership.objects.filter(user=user).update(role=Membership.Role.MEMBER)


def pay_only(*, user: int) -> None:
    """To the role that makes no keys."""
    Membership.objects.filter(user=user).update(role=Membership.Role.BILLING)


def sign_out(*, session: str) -> None:
    SessionStore(session).flush()


def take_staff_away(*, user: int) -> None:
    User.objects.filter(pk=user).update(is_staff=False, is_superuser=False)
