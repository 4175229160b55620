"""Stripe's values as Python's: moments, references to objects, metadata, fees."""

from datetime import UTC, datetime
from decimal import Decimal

import stripe

from billing.amounts import MICROS_PER_CENT


def datetime_of(seconds: int | None) -> datetime | None:
    """Stripe's Unix time as a datetime in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def id_of(thing: str | stripe.StripeObject | None) -> str | None:
    """The id of what Stripe gives as an id or, expanded, as an object."""
    if thing is None or isinstance(thing, str):
        return thing
    return str(thing["id"])


def metadata_of(metadata: stripe.StripeObject | None) -> dict[str, str]:
    """Metadata as a plain dict; empty where there is none."""
    return metadata.to_dict() if metadata is not None else {}


def fee_micros_of(transaction: str | stripe.BalanceTransaction | None) -> int | None:
    """What Stripe kept for a movement of its balance, in micro-dollars; None where it has not told yet.

    Where the balance is kept in another currency, the fee is converted as the amount was:
    https://docs.stripe.com/api/balance_transactions/object#balance_transaction_object-exchange_rate
    """
    if transaction is None or isinstance(transaction, str):
        return None
    rate = Decimal(str(transaction.exchange_rate or 1))
    return round(transaction.fee * MICROS_PER_CENT / rate)
