"""The admin of billing: each module registers pages, and the actions on them."""

from billing.admin import books, mail, money, payment, usage

__all__ = ["books", "mail", "money", "payment", "usage"]
