"""`manage.py create_account EMAIL --json`: a user, an organisation and a key, ready to use."""

import json
import secrets
from dataclasses import asdict, dataclass
from typing import Any

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from accounts.keys import keys
from accounts.models import User
from accounts.sign_in.bounded import EMAIL_LIMIT
from ecohash.signup import ORGANIZATION_LIMIT, sign_up


@dataclass(frozen=True)
class Account:
    """What the new user needs to sign in and to call the API; the key is shown here and never again."""

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
    if len(email) > EMAIL_LIMIT or len(organization_name) > ORGANIZATION_LIMIT:
        raise ValidationError(
            f"An address has at most {EMAIL_LIMIT} characters, and the name of an organization "
            f"{ORGANIZATION_LIMIT}."
        )
    if User.objects.filter(email__iexact=email).exists():
        raise ValidationError("This e-mail address already has an account.")
    password = secrets.token_urlsafe(12)
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


class Command(BaseCommand):
    """Make an account without a browser."""

    help = "Make a user, an organization and an API key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--organization", default="", metavar="NAME")
        parser.add_argument(
            "--credit-micros", type=int, metavar="N", help="in place of the trial credit; 0 = none"
        )
        parser.add_argument(
            "--no-limits",
            action="store_true",
            help="lift requests and images a minute and in flight",
        )
        parser.add_argument("--staff", action="store_true", help="may open /admin/")
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object and nothing else"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        credit_micros = options["credit_micros"]
        if credit_micros is not None and credit_micros < 0:
            raise CommandError("--credit-micros must be 0 or more.")
        try:
            account = create_account(
                email=options["email"],
                organization_name=options["organization"],
                credit_micros=credit_micros,
                limits_lifted=options["no_limits"],
                staff=options["staff"],
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        if options["json"]:
            self.stdout.write(json.dumps(asdict(account)))
        else:
            for name, value in asdict(account).items():
                self.stdout.write(f"{name:13} {value}")
