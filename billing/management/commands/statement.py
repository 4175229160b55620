"""`manage.py statement`: why an organization was charged what it was, as text that adds up."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from accounts.models import Organization
from billing.ledger.usage import Period, month_of
from billing.statements import account, invoice, next_invoice, text
from billing.statements.figures import AccountStatement, InvoiceStatement

LONGEST_ID = 18  # digits


class Command(BaseCommand):
    """Prints the statement of account of a month, or the statement of one invoice."""

    help = (
        "Say what an organization owed, was charged and paid in a month, or what an invoice bills."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "organization", metavar="ORGANIZATION_OR_EMAIL", help="its id or name, or a member"
        )
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--month", metavar="YYYY-MM", help="in UTC; the current one by default")
        what.add_argument(
            "--invoice", metavar="NUMBER", help="its number or id at Stripe; next: the one to come"
        )
        parser.add_argument("--json", action="store_true", help="all figures, in micro-dollars")

    def handle(self, *_args: Any, **options: Any) -> None:
        organization = organization_of(options["organization"])
        if options["invoice"]:
            of_invoice = invoice_statement(organization, options["invoice"])
            self.write(of_invoice, "\n".join(text.of_invoice(of_invoice)), options)
        else:
            of_account = account.statement_of(organization, period_of(options["month"]))
            self.write(of_account, "\n".join(text.of_account(of_account)), options)

    def write(
        self, statement: InvoiceStatement | AccountStatement, lines: str, options: dict[str, Any]
    ) -> None:
        if not options["json"]:
            self.stdout.write(lines)
            return
        sums = {
            name: getattr(statement, name)
            for name in ("charged_micros", "due_micros", "open_micros", "closing_micros")
            if hasattr(statement, name)
        }
        self.stdout.write(json.dumps(asdict(statement) | sums, cls=DjangoJSONEncoder, indent=2))


def organization_of(name: str) -> Organization:
    """The organization of that id or name, or that has a member of that address.

    Raises:
        CommandError: there is none, or there are several.
    """
    found = Organization.objects.filter(memberships__user__email__iexact=name)
    if "@" not in name:
        found = Organization.objects.filter(name__iexact=name)
        if name.isascii() and name.isdigit() and len(name) <= LONGEST_ID:
            found = Organization.objects.filter(pk=int(name))
    match list(found.order_by("pk").distinct()[:10]):
        case []:
            raise CommandError(f"There is no organization {name}, and no member of that address.")
        case [organization]:
            return organization
        case several:
            ids = ", ".join(f"{each.pk} ({each.name})" for each in several)
            raise CommandError(f"Several are meant; name one by its id: {ids}.")


def period_of(month: str | None) -> Period:
    """The calendar month that was named, or this one.

    Raises:
        CommandError: it is none.
    """
    if not month:
        return month_of(datetime.now(UTC).date())
    try:
        return month_of(datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date())
    except ValueError:
        raise CommandError(f"--month: {month} is no month such as 2026-03.") from None


def invoice_statement(organization: Organization, name: str) -> InvoiceStatement:
    """The statement of that invoice; of the one to come where it is called next.

    Raises:
        CommandError: there is none.
    """
    if name == "next":
        statement = next_invoice.so_far(organization)
        if statement is None:
            raise CommandError(f"{organization} has no period that runs.")
        return statement
    found = invoice.find(organization, name)
    if found is None:
        raise CommandError(f"{organization} has no invoice {name}.")
    return invoice.statement_of(found)
