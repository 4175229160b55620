"""`manage.py create_account EMAIL --json`: a user, an organization and a key, ready to use."""

import json
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ecohash.signup import create_account


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
