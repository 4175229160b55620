"""Forms of the money pages."""

from typing import Any

from django import forms

from accounts.forms import DollarField
from accounts.models import Organization

# What a new subscriber begins with, unless they choose otherwise.
FIRST_CAP_MICROS = 50_000_000


class SpendLimitForm(forms.Form):
    """The organization's monthly cap: dollars as text, micro-dollars once it is valid, None for no cap."""

    limit = DollarField(
        label="Monthly spend limit",
        required=False,
        placeholder="no limit",
        help_text="Empty means no limit; 0 stops all pictures.",
    )


class SubscribeForm(SpendLimitForm):
    """The monthly cap that a new subscriber sets before the first card."""

    def __init__(self, organization: Organization, data: Any = None) -> None:
        cap = organization.monthly_cap_micros
        # Both forms are on one page, where an id must be unique.
        super().__init__(
            data,
            auto_id="subscribe_%s",
            initial={"limit": FIRST_CAP_MICROS if cap is None else cap},
        )
