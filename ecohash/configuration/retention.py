"""How many days rows of tables that only grow are kept: settings of their own, with least values that keep promises."""

from ecohash.configuration.environment import mistakes, number


def kept_days() -> dict[str, int]:
    """Days by the setting's name; 0 keeps for good."""
    return {
        # Stripe sends an event again for 3 days, and by hand for 30: its id must be known until then.
        "WEBHOOK_EVENT_DAYS": days("WEBHOOK_EVENT_DAYS", 90, least=31),
        # Stripe takes use of 35 days, and names a request by its key when it rejects it late.
        "USAGE_ATTEMPT_DAYS": days("USAGE_ATTEMPT_DAYS", 90, least=36),
        # A mail goes once for each occurrence. Stripe tries to collect one invoice for two months.
        "NOTICE_DAYS": days("NOTICE_DAYS", 365, least=90),
        "ADMIN_LOG_DAYS": days("ADMIN_LOG_DAYS", 730, least=30),
        # Not while the picture can be fetched.
        "PROMPT_DAYS": days("PROMPT_DAYS", 0, least=2),
    }


def days(name: str, default: int, *, least: int) -> int:
    """The value of that name: 0, or at least so many."""
    value = number(name, default, least=0, most=10_000)
    if 0 < value < least:
        mistakes.append(f"{name} must be 0, which keeps everything, or at least {least}.")
    return value
