"""One request of the API as a handler gets it."""

from dataclasses import dataclass
from typing import Any

from tools.stripe_sandbox.state.store import Transaction


@dataclass(frozen=True)
class Call:
    """Checked parameters, the ids in the address, and the transaction in which all of it happens."""

    db: Transaction
    params: dict[str, Any]
    args: dict[str, str]
