"""The admin of billing: each module registers pages, and the actions on them."""

from billing.admin import money, payment, usage

__all__ = ["money", "payment", "usage"]
