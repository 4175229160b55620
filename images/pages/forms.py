"""The playground's form. It refuses what the API refuses, in words that stand next to the field."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.urls import reverse_lazy

from accounts.keys.fields import UncutCharField
from images.catalog import DEFAULT_MODEL, DEFAULT_SIZE, MODELS, PROMPT_LIMIT, SEED_LIMIT, SIZES
from images.jobs import prompts


class PromptField(UncutCharField):
    """Text that is drawn exactly as typed, except that browsers send each line break as two characters."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        return text.replace("\r\n", "\n") if isinstance(text, str) else text

    def validate(self, value: Any) -> None:
        super().validate(value)
        if prompts.is_empty(value):
            raise ValidationError(self.error_messages["required"], code="required")


class PlaygroundForm(forms.Form):
    """One run: what to draw, with which model, how large, and from which seed.

    Without a model it is the default one; no seed means a random one.
    """

    model = forms.ChoiceField(
        choices=lambda: [(model.id, model.title) for model in MODELS.values()],
        initial=DEFAULT_MODEL,
        required=False,
        # Another model has other prices and another engine.
        widget=forms.Select(
            attrs={
                "hx-get": reverse_lazy("playground"),
                "hx-include": "[name=size]",
                "hx-select": ".sizes",
                "hx-select-oob": "#engine-note",
                "hx-target": ".sizes",
                "hx-swap": "outerHTML",
            }
        ),
        error_messages={"invalid_choice": "This model is not offered. Choose one of the list."},
    )
    prompt = PromptField(
        strip=False,
        max_length=PROMPT_LIMIT,
        widget=forms.Textarea(
            attrs={
                "rows": 5,
                "placeholder": "A watercolor painting of a fox in a misty forest, soft light",
                "aria-keyshortcuts": "Control+Enter",
            }
        ),
        error_messages={
            "required": "Describe the picture: the prompt is empty.",
            "max_length": (
                "The prompt has %(show_value)d characters and may have %(limit_value)d. "
                "Shorten it; nothing is ever cut for you."
            ),
        },
    )
    size = forms.ChoiceField(
        choices=[(size, size) for size in SIZES],
        initial=DEFAULT_SIZE,
        widget=forms.RadioSelect,
        error_messages={
            "required": "Choose a size.",
            "invalid_choice": "This size is not offered. Choose one of the shapes.",
        },
    )
    seed = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=SEED_LIMIT,
        widget=forms.TextInput(
            attrs={"inputmode": "numeric", "placeholder": "random", "autocomplete": "off"}
        ),
        error_messages={
            "invalid": "A seed is a whole number. Leave it empty for a random one.",
            "min_value": "A seed is at least %(limit_value)d.",
            "max_value": "A seed is at most %(limit_value)d.",
        },
    )

    def clean_model(self) -> str:
        return self.cleaned_data["model"] or DEFAULT_MODEL
