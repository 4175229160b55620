"""Loops over customers at Stripe: what fails for one of them ends nothing for the others."""

import logging
import random
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from billing.gateway.client import time_limit
from billing.gateway.errors import GatewayError, StripeAway, StripeKeyRefused
from billing.mails import notices

logger = logging.getLogger(__name__)

# So many in a row, and Stripe is away for everybody: each more costs as long as a call may take.
AWAY_IN_A_ROW = 3
# For the calls of one row, so that the last one ends before the worker's time limit for the task.
ROW_SECONDS = 20.0

Row = TypeVar("Row")
Result = TypeVar("Result")


def for_each(
    rows: Iterable[Row],
    action: Callable[[Row], Result],
    *,
    what: str,
    organization_of: Callable[[Row], int],
    seconds: float,
) -> list[Result]:
    """Do it for each row, for at most that long; returns the results of those that did not fail.

    The order is another one in each run: neither a customer whose calls always time out nor the time
    limit lets anybody wait for ever. The rows should be those for which there is still something to do.

    Args:
        rows: What the action is done for.
        action: May raise; staff get one mail a day of an organization for which it was refused or broke.
        what: Names the action in that mail: "The prices of the subscription could not be changed".
        organization_of: The primary key of the row's organization.
        seconds: No row is begun after that time; the calls of one take up to `ROW_SECONDS`.
    """
    waiting = list(rows)
    random.shuffle(waiting)
    until = time.monotonic() + seconds
    results: list[Result] = []
    away = 0
    for row in waiting:
        if time.monotonic() > until or away >= AWAY_IN_A_ROW:
            break
        organization = organization_of(row)
        try:
            with time_limit(ROW_SECONDS):
                results.append(action(row))
        except StripeAway as error:
            away += 1
            _log(what, organization, error)
            continue
        except StripeKeyRefused as error:
            _log(what, organization, error)
            break
        except Exception as error:  # noqa: BLE001 - whatever it is, the others have their turn
            tell_staff(what, organization, error)
        away = 0
    return results


def tell_staff(what: str, organization: int, error: Exception) -> None:
    """Note one mail a day, organization and action; a mistake of ours is logged with where it was made."""
    detail = str(error) if isinstance(error, GatewayError) else type(error).__name__
    _log(what, organization, error)
    notices.note_failure(what, organization=organization, detail=detail)


def _log(what: str, organization: int, error: Exception) -> None:
    known = isinstance(error, GatewayError)
    logger.warning(
        "not done at stripe",
        exc_info=None if known else error,
        extra={"organization": organization, "what": what, "detail": str(error)},
    )
