"""A small Stripe server of our own: what EcoHash uses of Stripe, on one machine and with no account.

A Django project by itself. It imports nothing of the other packages, and none imports it; they meet over
HTTP, through the real `stripe` client. It is no emulator of all of Stripe: an address that is not in
`routes.py` is answered as unknown, and so is a parameter on which a handler does not act.
"""
