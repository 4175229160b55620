"""Forms of the money pages."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from billing.templatetags.money import MICROS_PER_DOLLAR, dollars

MOST_DOLLARS = 1_000_000


class Dollars(forms.DecimalField):
    """An amount to the tenth of a cent, with or without the dollar sign that the page itself shows."""

    def to_python(self, value: Any) -> Decimal | None:  # type: ignore[override]  # the stubs inherit int
        return super().to_python(str(value or "").strip().removeprefix("$").strip())


class SpendLimitForm(forms.Form):
    """The organisation's monthly cap; an empty field means that there is none."""

    limit = Dollars(
        label="Monthly spend limit",
        required=False,
        min_value=0,
        max_value=MOST_DOLLARS,
        max_digits=12,
        decimal_places=3,
        help_text="Empty means no limit; 0 stops all pictures.",
        widget=forms.TextInput(
            attrs={"inputmode": "decimal", "autocomplete": "off", "placeholder": "no limit"}
        ),
        error_messages={
            "invalid": "The monthly spend limit must be an amount in dollars, such as 50 or 12.50.",
            "min_value": "The monthly spend limit cannot be below zero.",
            "max_value": f"The monthly spend limit can be at most ${MOST_DOLLARS:,}.",
            "max_decimal_places": "The monthly spend limit goes down to tenths of a cent, such as 0.005.",
            "max_digits": "The monthly spend limit has too many digits.",
            "max_whole_digits": f"The monthly spend limit can be at most ${MOST_DOLLARS:,}.",
        },
    )

    @classmethod
    def showing(cls, cap_micros: int | None) -> SpendLimitForm:
        """The form as it stands while that cap is in force."""
        text = "" if cap_micros is None else dollars(cap_micros).lstrip("$").replace(",", "")
        return cls(initial={"limit": text})

    @property
    def cap_micros(self) -> int | None:
        """The cap that was asked for, once the form is valid."""
        limit: Decimal | None = self.cleaned_data["limit"]
        return None if limit is None else int(limit * MICROS_PER_DOLLAR)
