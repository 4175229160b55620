"""What a test may change while the server runs. It lies in the store, and each transaction reads it anew."""

from dataclasses import dataclass, field

from tools.stripe_sandbox import settings


@dataclass
class Options:
    """`clock_offset_seconds`: how far the sandbox's clock is ahead of the machine's."""

    clock_offset_seconds: float = 0.0
    draft_seconds: float = field(default_factory=lambda: settings.STRIPE_SANDBOX_DRAFT_SECONDS)
    summary_lag_seconds: float = field(
        default_factory=lambda: settings.STRIPE_SANDBOX_SUMMARY_LAG_SECONDS
    )


_current: list[Options] = [Options()]


def current() -> Options:
    """What holds at this moment."""
    return _current[0]


def load(stored: dict[str, float]) -> None:
    """Take over what the store says; what it does not name is as at the start."""
    _current[0] = Options(**stored)
