"""The way to Stripe: nothing else imports its library. A room for each kind of thing that is asked for.

Answers come back as small frozen dataclasses, and errors as the four of `errors.py`.
"""
