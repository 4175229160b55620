"""Faults that a test, or a person, sets: which requests go wrong, how, how often."""

import random
import re
import threading
from dataclasses import dataclass, field
from typing import Any

from tools.stripe_sandbox.state.errors import Refused

# Before any work, and nothing is remembered under the idempotency key.
EARLY = frozenset({"drop_before", "500_unstored", "429", "409", "401", "403", "400"})
# In the place of the work, around it and after it.
AT_WORK = frozenset({"500", "slow", "accept_then_drop", "accept_then_500"})
LATE = frozenset({"late_rejection"})
KINDS = EARLY | AT_WORK | LATE


@dataclass
class Fault:
    """`times` None: without end. `probability`: of each request that fits."""

    kind: str
    path: str = ".*"
    method: str = ""
    times: int | None = None
    probability: float = 1.0
    seconds: float = 1.0
    code: str = ""
    seed: int | None = None
    fired: int = 0
    chance: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise Refused(
                f"No such fault: {self.kind}. There are {', '.join(sorted(KINDS))}.", param="kind"
            )
        try:
            re.compile(self.path)
        except re.error as error:
            raise Refused(f"Not a regular expression: {error}", param="path") from None
        self.chance = random.Random(self.seed)  # noqa: S311 - chance, no secret

    def fires(self, method: str, path: str) -> bool:
        """Whether it applies to this request; counted if so."""
        fits = self.method in {"", method} and re.search(self.path, path)
        if not fits or (self.times is not None and self.fired >= self.times):
            return False
        if self.chance.random() >= self.probability:
            return False
        self.fired += 1
        return True

    @property
    def told(self) -> dict[str, Any]:
        """The fault as `/sandbox/faults` lists it."""
        hidden = {"chance"}
        return {name: value for name, value in vars(self).items() if name not in hidden}


class Faults:
    """The faults of this process. They end with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def told(self) -> list[dict[str, Any]]:
        with self._lock:
            return [fault.told for fault in self._faults]

    def matching(self, kinds: frozenset[str], method: str, path: str) -> Fault | None:
        """The first fault of those kinds that applies to this request."""
        with self._lock:
            fitting = (fault for fault in self._faults if fault.kind in kinds)
            return next((fault for fault in fitting if fault.fires(method, path)), None)


faults = Faults()


def early_refusal(fault: Fault) -> Refused:
    """What a fault before the work answers."""
    if fault.kind == "500_unstored":
        return server_error()
    if fault.kind == "429":
        return Refused(
            "Request rate limit exceeded. Learn more about rate limits here "
            "https://docs.stripe.com/rate-limits.",
            code="rate_limit",
            status=429,
        )
    if fault.kind == "409":
        return Refused(
            "This object cannot be accessed right now because another API request or Stripe process is "
            "currently accessing it.",
            code="lock_timeout",
            status=409,
        )
    if fault.kind == "401":
        return Refused("Invalid API Key provided: sk_test_****", status=401)
    if fault.kind == "403":
        return Refused(
            "The provided key does not have the required permissions for this endpoint.", status=403
        )
    return Refused("This request was refused by a fault.", code=fault.code)


def server_error() -> Refused:
    """The 500 that Stripe answers when it fails itself."""
    return Refused("An unknown error occurred. Please try again.", status=500, kind="api_error")
