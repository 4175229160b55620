"""Sign-up from top to bottom, and allauth's adapter."""

from dataclasses import dataclass
from datetime import timedelta
from secrets import token_hex, token_urlsafe
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import default_token_generator
from allauth.account.internal.flows.signup import prevent_enumeration
from allauth.account.models import EmailAddress
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from accounts.access import membership_of
from accounts.http.addresses import caller_address
from accounts.keys import keys
from accounts.models import EMAIL_LIMIT, Membership, Organization, User
from accounts.sign_in import attempts, devices, mailboxes
from billing.ledger import grants, trial
from billing.mails import outgoing
from billing.models import Credit, LedgerEntry

# Each is a transaction of its own, and other tasks wait behind them.
REMOVED_AT_ONCE = 100
UNKNOWN_ACCOUNT = "account/email/unknown_account"
# Mails that a visitor can cause without a sign-in. Those for a known and for an unknown address are one kind:
# counted together, they do not tell which of the two an address is.
MAIL_KINDS: dict[str, mailboxes.Kind] = {
    "account/email/email_confirmation_signup": "sign-up",
    "account/email/email_confirmation": "sign-up",
    "account/email/account_already_exists": "sign-up",
    "account/email/password_reset_key": "reset",
    UNKNOWN_ACCOUNT: "reset",
}

# As long as the links in them work: ACCOUNT_EMAIL_CONFIRMATION_EXPIRE_DAYS and PASSWORD_RESET_TIMEOUT.
LINKS_WORK_FOR = timedelta(days=3)

ITS_ORGANIZATION = "'s organization"
ORGANIZATION_LIMIT = 100  # characters, the column's length


def sign_up(
    *, user: User, organization_name: str = "", trial_credit_micros: int | None = None
) -> Organization:
    """Give a saved user an organization of their own, with trial credit at once (default: the setting's)."""
    by_setting = trial_credit_micros is None
    micros = settings.TRIAL_CREDIT_MICROS if by_setting else trial_credit_micros
    with transaction.atomic():
        organization = Organization.objects.create(
            name=organization_name or name_of_organization(user.email)
        )
        Membership.objects.create(organization=organization, user=user, role=Membership.Role.OWNER)
        grants.create_credit(organization=organization, trial_credit_micros=micros or 0)
        if by_setting and micros:
            trial.note_granted(organization=organization, email=user.email)
    return organization


@dataclass(frozen=True)
class Account:
    """Credentials of a new user. The key is not stored and cannot be shown again."""

    email: str
    password: str
    organization: str
    api_key: str


def create_account(
    *,
    email: str,
    organization_name: str = "",
    credit_micros: int | None = None,
    limits_lifted: bool = False,
    staff: bool = False,
) -> Account:
    """Make the account with a random password; the address counts as verified.

    Raises:
        ValidationError: not an e-mail address, one that has an account, or a text that is too long.
    """
    validate_email(email)
    if len(email.lower()) > EMAIL_LIMIT or len(organization_name) > ORGANIZATION_LIMIT:
        raise ValidationError(
            f"An address has at most {EMAIL_LIMIT} characters, and the name of an organization "
            f"{ORGANIZATION_LIMIT}."
        )
    if User.objects.filter(email__iexact=email).exists():
        raise ValidationError("This e-mail address already has an account.")
    password = token_urlsafe(12)
    with transaction.atomic():
        user = User.objects.create_user(email, password, is_staff=staff, is_superuser=staff)
        EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
        organization = sign_up(
            user=user, organization_name=organization_name, trial_credit_micros=credit_micros
        )
        if limits_lifted:
            organization.limits_lifted = True
            organization.save(update_fields=["limits_lifted"])
        _, secret = keys.mint(organization=organization, name="First key", created_by=user)
    return Account(user.email, password, organization.name, secret)


def remove_unverified() -> int:
    """Remove some of the accounts whose address nobody verified in time; returns how many went, 0 when none is left.

    Their organizations go too, except those whose ledger says that they had credit: the ledger never changes.
    """
    verified = EmailAddress.objects.filter(user=OuterRef("pk"), verified=True)
    users = User.objects.filter(
        ~Exists(verified),
        emailaddress__isnull=False,
        last_login=None,
        is_staff=False,
        date_joined__lt=timezone.now() - timedelta(days=settings.UNVERIFIED_ACCOUNT_DAYS),
    ).distinct()
    return sum(_remove_if_unverified(user) for user in users[:REMOVED_AT_ONCE])


def _remove_if_unverified(user: User) -> bool:
    with transaction.atomic():
        # A verification at the same moment waits for these rows, or has changed them already.
        addresses = EmailAddress.objects.select_for_update().filter(user=user)
        if any(address.verified for address in addresses):
            return False
        organizations = list(Organization.objects.filter(memberships__user=user))
        user.delete()
        for organization in organizations:
            in_use = organization.memberships.exists() or organization.api_keys.exists()
            if in_use or LedgerEntry.objects.for_organization(organization).exists():
                continue
            Credit.objects.filter(organization=organization).delete()
            organization.delete()
    return True


def name_of_organization(email: str) -> str:
    """The first name of an organization, cut to the length of the column."""
    person = email.partition("@")[0]
    room = ORGANIZATION_LIMIT - len(ITS_ORGANIZATION)
    if len(person) > room:
        person = f"{person[: room - 1]}…"
    return f"{person}{ITS_ORGANIZATION}"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Adds organizations, trial credit and limits to allauth's sign-up, sign-in and mails."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "too_many_login_attempts": attempts.TOO_MANY
    }

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:  # noqa: FBT001, FBT002 - allauth's signature
        """Save the user and everything that belongs to a sign-up, or nothing. Trial credit waits for the mail's link."""
        try:
            with transaction.atomic():
                saved: User = super().save_user(request, user, form, commit=commit)
                if commit:
                    sign_up(user=saved, trial_credit_micros=0)
        except IntegrityError:
            email = form.cleaned_data["email"]
            if not User.objects.filter(email__iexact=email).exists():
                raise
            # Another request signed the address up since the form was checked.
            raise ImmediateHttpResponse(prevent_enumeration(request, email=email)) from None
        return saved

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Verify the address; with a person's first one comes the trial credit, or the reason why not."""
        with transaction.atomic():
            user = email_address.user
            is_first = not EmailAddress.objects.filter(user=user, verified=True).exists()
            confirmed: bool = super().confirm_email(request, email_address)
            membership = membership_of(user)
            if confirmed and is_first and membership and membership.role == Membership.Role.OWNER:
                trial.decide(
                    organization=membership.organization,
                    email=email_address.email,
                    address=caller_address(request.META),
                )
        return confirmed

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """The user whose password it is; each guess is counted before it is looked at.

        Raises:
            ValidationError: there were too many.
        """
        attempt = attempts.begin(request, credentials.get("email", ""))
        if attempt is None:
            raise self.validation_error("too_many_login_attempts")
        user: User | None = super().authenticate(request, **credentials)
        if user:
            attempt.succeeded()
        return user

    def post_login(self, request: HttpRequest, user: User, **options: Any) -> HttpResponseBase:
        """Where a sign-in leads; the account knows the browser from now on."""
        response: HttpResponseBase = super().post_login(request, user, **options)
        devices.remember(response, request, user)
        return response

    def get_client_ip(self, request: HttpRequest) -> str:
        """Where a call comes from, by the same rule as for the API; allauth has another of its own."""
        return str(caller_address(request.META) or "unknown")

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Write it, for a worker to send, unless a stranger could have caused it and the mailbox had enough of the kind.

        The page says the same either way, and the work is the same for every address.
        """
        if template_prefix == UNKNOWN_ACCOUNT:
            # The same work as for a known address, whose mail has a token.
            default_token_generator.make_token(User(pk=0))
        kind = MAIL_KINDS.get(template_prefix)
        known = self._is_known_device(email)
        if kind is None or mailboxes.count_mail(email, kind=kind, known=known):
            message = self.render_mail(template_prefix, email, {"email": email, **context})
            outgoing.write(
                kind=template_prefix.rpartition("/")[2],
                to=message.to,
                subject=message.subject,
                body=str(message.body),
                life=LINKS_WORK_FOR,
            )

    def send_account_already_exists_mail(self, email: str) -> None:
        """In place of a sign-up, and after the same work: the time must not tell that the address is known."""
        with transaction.atomic():
            nobody = User.objects.create_user(f"{token_hex(8)}@nobody.invalid", token_hex(8))
            sign_up(user=nobody, trial_credit_micros=0)
            EmailAddress.objects.create(user=nobody, email=nobody.email, primary=True)
            transaction.set_rollback(True)
        super().send_account_already_exists_mail(email)

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:  # noqa: ARG002 - allauth's signature
        """Under BASE_URL, because the Host header comes from the sender of the request."""
        return (
            f"{settings.BASE_URL}{reverse('account_confirm_email', args=[emailconfirmation.key])}"
        )

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Under BASE_URL too. `key` is both parts, joined by a hyphen."""
        uidb36, _, rest = key.partition("-")
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": uidb36, "key": rest})
        return f"{settings.BASE_URL}{path}"

    @staticmethod
    def _is_known_device(email: str) -> bool:
        request = context.request
        if request is None or not devices.has_any(request):
            return False
        user = User.objects.filter(email__iexact=email).first()
        return user is not None and devices.name_of(request, user) is not None
