"""Creations at Stripe: every object is looked for, and created where it is not found.

Stripe remembers an answer under its idempotency key for a day, a 500 too: with one constant key for each
object, one such answer would lock its customer out for that day. So a key is good for one answer:

| Stripe answers | the next try has |
|---|---|
| nothing: the line was lost | the same key: the first call may still be at work |
| 409, 429, 401, 403: nothing was done | the same key |
| 5xx, or a refusal | another key; what the first call has made is found |
| a refusal, because the key belongs to another request | another key, at once |
| what an earlier call has made, which is not there any more | another key, at once |
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import stripe
from django.db.models import F
from django.utils import timezone

from billing.gateway.client import calling
from billing.gateway.errors import KeyOfAnotherRequest, StripeAway, StripeRefused
from billing.models import CreationKey

# Each key that is used up in one go belongs to an earlier call; there are few of them.
KEYS_IN_ONE_GO = 3
SERVER_ERROR = 500
LONGEST_IDENTITY = 200  # characters, without the number

Made = TypeVar("Made", bound=stripe.StripeObject)


def find_or_create(
    identity: str,
    *,
    find: Callable[[], Made | None],
    create: Callable[[stripe.StripeClient, stripe.RequestOptions], Made],
    again: bool = True,
) -> tuple[Made, bool]:
    """The object that `find` finds at Stripe, else a new one; and whether it is new.

    Args:
        identity: Names the object among all that we create; its idempotency keys begin with it.
        find: Asks Stripe. It must not use Stripe's search, which learns of new objects with a delay.
        create: One call, to which it gives the options.
        again: What was created within a day and is gone since is created again. Not so money, which
            somebody at Stripe may have taken away on purpose.

    Raises:
        GatewayError
    """
    identity = _shortened(identity)
    for _ in range(KEYS_IN_ONE_GO):
        if (found := find()) is not None:
            return found, False
        number = _number(identity)
        try:
            with calling() as client:
                made = create(client, {"idempotency_key": f"{identity}:{number}"})
        except StripeAway as error:
            if error.status >= SERVER_ERROR:
                _use_up(identity, number)
            raise
        except StripeRefused as error:
            _use_up(identity, number)
            if not isinstance(error, KeyOfAnotherRequest):
                raise
            continue
        if not (again and _is_replayed(made)):
            return made, True
        # It is there if another process has created it a moment ago.
        if (found := find()) is not None:
            return found, False
        _use_up(identity, number)
    raise StripeAway(f"Stripe has answered {KEYS_IN_ONE_GO} creations of {identity} before.")


def record_try(identity: str) -> datetime | None:
    """Record that this is about to be created, where nothing else could tell that it was tried before.

    Returns when it was tried first, or when a try was last answered; None where this is the first try within the
    days for which these rows are kept.
    """
    row, made = CreationKey.objects.get_or_create(identity=_shortened(identity))
    return None if made else row.changed_at


def _shortened(identity: str) -> str:
    """Stripe takes keys of up to 255 characters, and so long one of its ids may be."""
    if len(identity) <= LONGEST_IDENTITY:
        return identity
    return f"{identity[:100]}:{hashlib.sha256(identity.encode()).hexdigest()}"


def _number(identity: str) -> int:
    """The number of the key that is good now."""
    numbers = CreationKey.objects.filter(identity=identity).values_list("number", flat=True)
    return numbers.first() or 1


def _use_up(identity: str, number: int) -> None:
    """Later tries have the next key. Of two processes with the same answer, one counts."""
    row, made = CreationKey.objects.get_or_create(
        identity=identity, defaults={"number": number + 1}
    )
    if not made:
        CreationKey.objects.filter(pk=row.pk, number=number).update(
            number=F("number") + 1, changed_at=timezone.now()
        )


def _is_replayed(made: stripe.StripeObject) -> bool:
    """Whether the answer was remembered, and not of this call."""
    answer = made.last_response
    return answer is not None and answer.headers.get("Idempotent-Replayed") == "true"
