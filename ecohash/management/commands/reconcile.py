"""`manage.py reconcile`: exit 0 when the books are right, else 1 and one line for each difference."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.gateway.errors import GatewayError
from billing.invoicing import comparing
from billing.reporting import batching
from ecohash import reconcile


class Command(BaseCommand):
    """Check holds, pictures, credit, ledger, usage batches and Stripe against one another."""

    help = "Check the books, ours and Stripe's; exit 1 with one line for each difference."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--fix",
            action="store_true",
            help="first settle the invoices that are due, and bill what no subscription bills",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["fix"]:
            self.fix()
        found = reconcile.differences_in_snapshot() + reconcile.differences_at_stripe()
        for line in found:
            self.stdout.write(line)
        if found:
            raise SystemExit(1)
        self.stdout.write("The books are right.")

    def fix(self) -> None:
        """What is done is said."""
        batching.seal()
        try:
            for line in comparing.repair():
                self.stdout.write(line)
        except GatewayError as error:
            raise CommandError(str(error)) from None
