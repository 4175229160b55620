"""Invoices, and the cards, charges and balances that pay them."""
