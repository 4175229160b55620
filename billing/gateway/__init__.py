"""The way to Stripe: nothing else imports its library. One module for each kind of object there.

Answers are small frozen dataclasses, and errors those of `errors.py`.
"""
