"""`manage.py set_limits EMAIL ...`: show or change the limits of that owner's organization."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.limits.plans import limits_of
from accounts.models import Organization

FIGURES = ("requests_per_minute", "images_per_minute", "images_in_flight")


class Command(BaseCommand):
    """Show an organization's limits, or change those that are named."""

    help = "Show the limits of an organization, or change those that are named."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="an owner of the organization")
        for name in FIGURES:
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                type=int,
                metavar="N",
                help="0: the installation's default",
            )
        lifted = parser.add_mutually_exclusive_group()
        lifted.add_argument("--lift", action="store_true", help="no limits at all")
        lifted.add_argument("--restore", action="store_true", help="the figures count again")

    def handle(self, *_args: Any, **options: Any) -> None:
        owned = Organization.objects.filter(
            memberships__user__email__iexact=options["email"], memberships__role="owner"
        )
        organization = owned.first()
        if organization is None:
            raise CommandError(f"{options['email']} owns no organization.")
        for name in FIGURES:
            if (figure := options[name]) is not None:
                if figure < 0:
                    raise CommandError(f"--{name.replace('_', '-')} must be 0 or more.")
                setattr(organization, name, figure or None)
        if options["lift"] or options["restore"]:
            organization.limits_lifted = options["lift"]
        try:
            organization.full_clean()
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        organization.save()
        self.stdout.write(organization.name)
        for name in FIGURES:
            self.stdout.write(f"  {name:20} {getattr(limits_of(organization), name) or 'no limit'}")
