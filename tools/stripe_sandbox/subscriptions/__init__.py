"""Customers, their subscriptions, and the sessions in which they subscribe."""
