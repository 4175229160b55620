"""Forms of the money pages."""

from typing import Any

from django import forms
from django.conf import settings

from accounts.forms import DollarField
from accounts.models import Organization


class SpendLimitForm(forms.Form):
    """The organization's monthly cap: dollars as text, micro-dollars once it is valid, None for no cap.

    No cap is a choice of its own, which a button sends as `no_limit`: an empty field is a mistake.
    """

    limit = DollarField(
        label="Monthly spend limit",
        required=False,
        placeholder="no limit",
        help_text="0 stops all pictures.",
    )
    no_limit = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("no_limit"):
            self.errors.pop("limit", None)
            data["limit"] = None
        elif data.get("limit") is None and "limit" not in self.errors:
            self.add_error("limit", "Enter the spend limit in dollars, such as 50.")
        return data


class SubscribeForm(SpendLimitForm):
    """The monthly cap that a new subscriber sets before the first card."""

    def __init__(self, organization: Organization, data: Any = None) -> None:
        cap = organization.monthly_cap_micros
        # Both forms are on one page, where an id must be unique.
        super().__init__(
            data,
            auto_id="subscribe_%s",
            initial={"limit": settings.SPENDING.cap_micros if cap is None else cap},
        )
