"""Everything that happens when somebody signs up, from top to bottom."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest

from accounts.models import Membership, Organization, User
from billing import ledger


def sign_up(
    *, user: User, organization_name: str = "", trial_credit_micros: int | None = None
) -> Organization:
    """Give a saved user an organisation of their own, with trial credit (default: the setting's)."""
    if trial_credit_micros is None:
        trial_credit_micros = settings.TRIAL_CREDIT_MICROS
    with transaction.atomic():
        organization = Organization.objects.create(
            name=organization_name or f"{user.email.partition('@')[0]}'s organization"
        )
        Membership.objects.create(organization=organization, user=user, role=Membership.Role.OWNER)
        ledger.open_books(organization=organization, trial_credit_micros=trial_credit_micros)
    return organization


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Where allauth's sign-up meets ours."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:  # noqa: FBT001, FBT002 - allauth's signature
        """Save the user and everything that belongs to a sign-up, or nothing."""
        with transaction.atomic():
            saved: User = super().save_user(request, user, form, commit=commit)
            if commit:
                sign_up(user=saved)
        return saved
