"""Stripe's API: which address takes what, and how a request is checked, run and answered."""
