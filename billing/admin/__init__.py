"""The admin of billing: each module registers pages, and the actions on them."""

from billing.admin import mail, money, payment, usage

__all__ = ["mail", "money", "payment", "usage"]
