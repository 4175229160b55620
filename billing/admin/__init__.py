"""What staff see of money, and do about it."""

from billing.admin import money, payment, usage

__all__ = ["money", "payment", "usage"]
