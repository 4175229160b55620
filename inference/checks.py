"""System checks of the inference app."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register


@register()
def engine_is_known(**_kwargs: Any) -> list[Error]:
    """inference.E001: a wrong engine setting shows at start, not at the first image."""
    if settings.INFERENCE_ENGINE in {"flux", "blank"}:
        return []
    return [
        Error(
            "INFERENCE_ENGINE names no engine.",
            hint="Set it to flux, or to blank for a benchmark of everything but drawing.",
            id="inference.E001",
        )
    ]
