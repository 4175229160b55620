"""`manage.py reconcile`: exit 0 when the books are right, else 1 and one line for each difference."""

from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.gateway.errors import GatewayError
from billing.invoicing import comparing
from billing.models import Subscription
from billing.reporting import batching
from ecohash.reconcile import repairs, running


class Command(BaseCommand):
    """Check holds, pictures, credit, ledger, usage batches and Stripe against one another."""

    help = (
        "Check the books, ours and Stripe's; exit 1 with one line for each difference. "
        "What it looked at is the last line on stderr."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--fix",
            action="store_true",
            help="first settle the invoices that are due, bill what no subscription bills, and add up again "
            "what organizations owe and what was used in each hour of the open months",
        )
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--full", action="store_true", help="prove closed months once more, too")
        what.add_argument(
            "--month",
            type=month,
            metavar="YYYY-MM",
            help="prove this month alone, closed or not, without asking Stripe",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["fix"]:
            self.fix()
        if options["month"]:
            outcome = running.run_month(self.stdout.write, options["month"])
            others = 0
        else:
            customers = Subscription.objects.exclude(customer_id=None).count()
            outcome = running.run(self.stdout.write, full=options["full"], organizations=customers)
            others = sum(1 for _ in map(self.stdout.write, comparing.compare()))
        self.stdout.flush()
        self.stderr.write(f"Looked at {outcome}.")
        if outcome.differences or others:
            raise SystemExit(1)
        self.stdout.write("The books are right.")

    def fix(self) -> None:
        """What is done is said."""
        batching.seal()
        for line in repairs.repair():
            self.stdout.write(line)
        try:
            for line in comparing.repair():
                self.stdout.write(line)
        except GatewayError as error:
            raise CommandError(str(error)) from None


def month(text: str) -> date:
    """`2026-11` → its first day; raises ValueError."""
    return date.fromisoformat(f"{text}-01")
