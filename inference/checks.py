"""System checks of the inference app."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register


@register()
def engine_is_known(**_kwargs: Any) -> list[Error]:
    """inference.E001 and E002: a wrong engine setting shows at start, not at the first image."""
    errors = []
    if settings.INFERENCE_ENGINE not in {"flux", "blank"}:
        errors.append(
            Error(
                "INFERENCE_ENGINE names no engine.",
                hint="Set it to flux, or to blank for a benchmark of everything but drawing.",
                id="inference.E001",
            )
        )
    if settings.PRODUCTION and settings.INFERENCE_ENGINE == "flux" and not settings.FLUX_MODEL:
        errors.append(
            Error(
                "FLUX_MODEL is not set, so the miniature would be sold as FLUX.1 Schnell.",
                hint="Set it to a folder with the weights or to a hub id.",
                id="inference.E002",
            )
        )
    return errors
