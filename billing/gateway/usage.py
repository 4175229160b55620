"""Meter events: sent with an outcome for each kind of answer, and added up."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billing.gateway.client import CONFLICT, TOO_MANY, calling
from billing.gateway.errors import GatewayError, StripeAway, StripeKeyRefused, StripeRefused

ALREADY = "already exists with identifier"


class ReportOutcome(StrEnum):
    """What became of one meter event, as far as the answer tells."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    KEY_REFUSED = "key refused"
    BUSY = "busy"
    FAULT = "fault"
    LOST = "lost"


@dataclass(frozen=True)
class ReportAnswer:
    """The outcome of a report, and Stripe's message."""

    outcome: ReportOutcome
    detail: str = ""


def send(
    *,
    event_name: str,
    customer_id: str,
    quantity: int,
    identifier: str,
    timestamp: datetime,
    idempotency_key: str,
) -> ReportAnswer:
    """Report that many images once. It is not repeated here: the caller counts the attempts."""
    try:
        with calling() as client:
            client.v1.billing.meter_events.create(
                {
                    "event_name": event_name,
                    "payload": {"stripe_customer_id": customer_id, "value": str(quantity)},
                    "identifier": identifier,
                    "timestamp": int(timestamp.timestamp()),
                },
                {"idempotency_key": idempotency_key, "max_network_retries": 0},
            )
    except GatewayError as error:
        return ReportAnswer(outcome_of(error), str(error))
    return ReportAnswer(ReportOutcome.ACCEPTED)


def outcome_of(error: GatewayError) -> ReportOutcome:
    """The outcome that an error of the gateway stands for."""
    if isinstance(error, StripeKeyRefused):
        return ReportOutcome.KEY_REFUSED
    if isinstance(error, StripeRefused):
        duplicate = error.status == 400 and ALREADY in str(error)  # noqa: PLR2004 - HTTP's
        return ReportOutcome.DUPLICATE if duplicate else ReportOutcome.REFUSED
    status = error.status if isinstance(error, StripeAway) else 0
    if not status:
        return ReportOutcome.LOST
    return ReportOutcome.BUSY if status in {CONFLICT, TOO_MANY} else ReportOutcome.FAULT


def total(*, meter_id: str, customer_id: str, start: datetime, end: datetime) -> int:
    """Images that the meter has counted from `start` to before `end`; both lie on whole minutes.

    Stripe adds up with a lag of minutes, so less than was accepted is no difference yet.
    """
    with calling() as client:
        page = client.v1.billing.meters.event_summaries.list(
            meter_id,
            {
                "customer": customer_id,
                "start_time": int(start.timestamp()),
                "end_time": int(end.timestamp()),
                "limit": 100,
            },
        )
    return round(sum(summary.aggregated_value for summary in page.data))
