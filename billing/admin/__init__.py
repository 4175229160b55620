"""The admin of billing: each module registers pages, and the actions on them."""

from billing.admin import invoices, mail, money, payment, usage

__all__ = ["invoices", "mail", "money", "payment", "usage"]
