"""Forms of the keys page. Those of sign-up and sign-in are allauth's."""

from django import forms

from accounts.models import ApiKey


class KeyForm(forms.ModelForm[ApiKey]):
    """What is asked of a new key: a name to recognise it by."""

    class Meta:
        model = ApiKey
        fields = ("name",)
        help_texts = {"name": "Where the key will live, so that you know which one to revoke."}
        error_messages = {
            "name": {
                "required": "Give the key a name, such as “Laptop” or “Production”.",
                "max_length": "A name has at most 100 characters.",
            },
        }
        widgets = {
            "name": forms.TextInput(
                attrs={"placeholder": "Production server", "autocomplete": "off"}
            ),
        }
