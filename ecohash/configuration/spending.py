"""What an organization may owe, and spend in a month, where nobody has chosen otherwise."""

from dataclasses import dataclass

from ecohash.configuration.environment import number

# A million dollars: more than any card pays.
MOST_MICROS = 10**12


@dataclass(frozen=True)
class Spending:
    """The settings, in micro-dollars and per cent.

    `unpaid_micros` is the ceiling of unpaid use of a new card; `unpaid_paid_percent` of what was paid raises it, to at
    most `unpaid_most_micros`. Use that no invoice bills yet is invoiced once it reaches `interim_percent` of the
    ceiling. A new subscriber's monthly spend limit is `cap_micros`.
    """

    unpaid_micros: int
    unpaid_paid_percent: int
    unpaid_most_micros: int
    interim_percent: int
    cap_micros: int


def read() -> Spending:
    """The settings; billing.E007 and E008 say what does not fit together."""
    return Spending(
        unpaid_micros=number("UNPAID_LIMIT_MICROS", 50_000_000, most=MOST_MICROS),
        unpaid_paid_percent=number("UNPAID_LIMIT_PAID_PERCENT", 100, least=0, most=1_000),
        unpaid_most_micros=number("UNPAID_LIMIT_MOST_MICROS", 2_000_000_000, most=MOST_MICROS),
        # Above, work would stop before the invoice is paid.
        interim_percent=number("INTERIM_INVOICE_PERCENT", 50, most=90),
        cap_micros=number("DEFAULT_SPEND_LIMIT_MICROS", 50_000_000, most=MOST_MICROS),
    )
