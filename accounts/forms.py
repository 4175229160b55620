"""Forms of the keys page. Those of sign-up and sign-in are allauth's."""

from django import forms

NAME_LIMIT = 100  # characters, the column's length


class KeyForm(forms.Form):
    """What is asked of a new key: a name to recognise it by."""

    name = forms.CharField(
        max_length=NAME_LIMIT,
        help_text="Where the key will live, so that you know which one to revoke.",
        widget=forms.TextInput(attrs={"placeholder": "Production server", "autocomplete": "off"}),
        error_messages={
            "required": "Give the key a name, such as “Laptop” or “Production”.",
            "max_length": "A name has at most %(limit_value)d characters.",
        },
    )
