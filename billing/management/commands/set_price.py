"""`manage.py set_price SIZE DOLLARS`: a new version of a price; what is held already keeps its own."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing.amounts import MICROS_PER_DOLLAR, dollars
from billing.ledger import pricing


class Command(BaseCommand):
    """Adds a version; earlier ones stay, for the holds and invoices that name them."""

    help = "Set the price of one image of a size, from now on or from a moment to come."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("size", choices=sorted(pricing.DEFAULT_PRICES_MICROS))
        parser.add_argument("dollars", help="for one image, such as 0.018")
        parser.add_argument("--model", default=pricing.DEFAULT_MODEL)
        parser.add_argument(
            "--from", dest="start", metavar="WHEN", help="UTC, such as 2027-01-01T00:00"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["model"] not in pricing.MODEL_TITLES:
            raise CommandError(f"--model must be one of {', '.join(pricing.MODEL_TITLES)}.")
        price = pricing.set_price(
            model=options["model"],
            size=options["size"],
            amount_micros=micros_of(options["dollars"]),
            effective_from=moment_of(options["start"]),
        )
        self.stdout.write(
            f"{price}: {dollars(price.amount_micros)} from {price.effective_from:%Y-%m-%d %H:%M} UTC on."
        )
        self.stdout.write(
            "Subscriptions pay it once Stripe has confirmed it: within five minutes of that moment, or at "
            "once after `manage.py stripe_sync`."
        )


def micros_of(text: str) -> int:
    """Dollars as whole micro-dollars.

    Raises:
        CommandError: no amount, nothing, or finer than a micro-dollar.
    """
    try:
        micros = Decimal(text.strip().lstrip("$")) * MICROS_PER_DOLLAR
    except InvalidOperation:
        raise CommandError("The price must be an amount in dollars, such as 0.018.") from None
    if not micros.is_finite() or micros <= 0 or micros != int(micros):
        raise CommandError("The price must be above zero, and in whole millionths of a dollar.")
    return int(micros)


def moment_of(text: str | None) -> datetime | None:
    """A moment to come, in UTC; None for now.

    Raises:
        CommandError: no moment, or one that has passed: images were sold at the older price since.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError("--from must be a moment, such as 2027-01-01T00:00.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment < timezone.now():
        raise CommandError("--from must lie in the future; leave it out for now.")
    return moment
