"""`manage.py refund`: give back one image, or an amount, with a reason that the customer reads."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Organization
from billing import refunds
from billing.admin.actions import AmountField
from billing.amounts import dollars
from billing.models import Hold, Refund


class Command(BaseCommand):
    """Gives money back as the admin's actions do."""

    help = "Give back what one image cost, or an amount, to an organization."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--generation", metavar="gen_…", help="the image")
        what.add_argument("--organization", metavar="EMAIL", help="an owner of the organization")
        parser.add_argument("--amount", metavar="DOLLARS", help="with --organization: 5 or 12.50")
        parser.add_argument("--reason", required=True, help="the customer reads it on their ledger")
        parser.add_argument("--by", metavar="EMAIL", default="operator", help="who gives it")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            refund = give_back(options)
        except refunds.NotRefundable as why:
            raise CommandError(str(why)) from None
        amount = dollars(refund.entry.amount_micros)
        self.stdout.write(
            f"{amount} given back to {refund.organization}{refunds.where_to(refund)}."
        )


def give_back(options: dict[str, Any]) -> Refund:
    """Make the refund that the options describe.

    Raises:
        CommandError, NotRefundable
    """
    said = {"reason": options["reason"], "by": options["by"]}
    if options["generation"]:
        if options["amount"]:
            raise CommandError("An image is given back whole: leave --amount out.")
        return refunds.refund_image(hold=hold_of(options["generation"]), **said)
    if not options["amount"]:
        raise CommandError("Say how much: --amount DOLLARS.")
    try:
        amount_micros = AmountField().clean(options["amount"])
    except ValidationError as error:
        raise CommandError(f"--amount: {' '.join(error.messages)}") from None
    organization = organization_of(options["organization"])
    return refunds.refund_amount(organization=organization, amount_micros=amount_micros, **said)


def hold_of(generation_id: str) -> Hold:
    """The hold of that image."""
    hold = Hold.objects.filter(generation__pk=generation_id).first()
    if hold is None:
        raise CommandError(f"There is no image {generation_id}.")
    return hold


def organization_of(email: str) -> Organization:
    """The organization that this person owns."""
    owned = Organization.objects.filter(
        memberships__user__email__iexact=email, memberships__role="owner"
    )
    match list(owned):
        case []:
            raise CommandError(f"{email} owns no organization.")
        case [organization]:
            return organization
        case several:
            names = ", ".join(each.name for each in several)
            raise CommandError(
                f"{email} owns several: {names}. Refund from the organization's page of the admin."
            )
