"""Forms of the money pages."""

from django import forms

from accounts.forms import DollarField


class SpendLimitForm(forms.Form):
    """The organisation's monthly cap, in micro-dollars once it is valid; empty means that there is none."""

    limit = DollarField(
        label="Monthly spend limit",
        required=False,
        placeholder="no limit",
        help_text="Empty means no limit; 0 stops all pictures.",
    )
