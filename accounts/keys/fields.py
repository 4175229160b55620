"""Form fields whose text is never cut, and those with one thing a line: each wrong line has its own error."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from accounts.keys import aliases, networks
from accounts.keys.aliases import ALIASES_LIMIT

NETWORKS_LIMIT = 50
NETWORKS_TEXT_LIMIT = 10_000  # characters: that many networks, with room for spaces and empty lines
ALIASES_TEXT_LIMIT = 5_000  # characters: that many aliases with their models, with the same room


class UncutCharField(forms.CharField):
    """Text whose length is judged here: browsers cut what is pasted at `maxlength`, and say nothing."""

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        """Without `maxlength`."""
        attrs: dict[str, Any] = super().widget_attrs(widget)
        attrs.pop("maxlength", None)
        return attrs


class LinesField(UncutCharField):
    """A text area for one thing a line."""

    def __init__(self, *, placeholder: str, rows: int = 3, **options: Any) -> None:
        shown = {"rows": rows, "placeholder": placeholder, "spellcheck": "false"}
        super().__init__(widget=forms.Textarea(attrs=shown), **options)


class NetworksField(LinesField):
    """One network a line; the value is a list in CIDR form."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            placeholder="203.0.113.0/24",
            max_length=NETWORKS_TEXT_LIMIT,
            error_messages={
                "max_length": (
                    f"A key may have at most {NETWORKS_LIMIT} networks, one a line, in "
                    "%(limit_value)d characters. This has %(show_value)d characters."
                )
            },
            **options,
        )

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        found, problems = networks.parse_lines(super().clean(value))
        if problems:
            raise ValidationError(problems)
        if len(found) > NETWORKS_LIMIT:
            raise ValidationError(
                f"A key may have at most {NETWORKS_LIMIT} networks, and here are {len(found)}. "
                "Join some of them to larger ones."
            )
        return found


class AliasesField(LinesField):
    """One model alias a line; the value is a dictionary from alias to model."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            placeholder="openai/dall-e-3",
            max_length=ALIASES_TEXT_LIMIT,
            error_messages={
                "max_length": (
                    f"A key may have at most {ALIASES_LIMIT} aliases, one a line, in "
                    "%(limit_value)d characters. This has %(show_value)d characters."
                )
            },
            **options,
        )

    def prepare_value(self, value: Any) -> Any:
        return aliases.as_lines(value) if isinstance(value, dict) else value

    def clean(self, value: Any) -> dict[str, str]:
        found, problems = aliases.parse_lines(super().clean(value))
        if problems:
            raise ValidationError(problems)
        return found
