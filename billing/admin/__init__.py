"""The admin of billing: each module registers pages, and the actions on them."""

from billing.admin import books, invoices, mail, money, payment, usage

__all__ = ["books", "invoices", "mail", "money", "payment", "usage"]
