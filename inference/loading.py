"""Chooses the engine that the settings name. Only the chosen one is imported."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from inference.checkpoints import MINIATURE
from inference.engines.base import Engine
from inference.engines.blank import BlankEngine


def build_engine() -> Engine:
    """The engine of this installation, not yet loaded: the miniature's when `FLUX_MODEL` is empty.

    Raises ImproperlyConfigured for an engine that does not exist.
    """
    match settings.INFERENCE_ENGINE:
        case "blank":
            return BlankEngine(settings.BLANK_ENGINE_SECONDS)
        case "flux":
            return _flux_engine(settings.FLUX_MODEL)
        case other:
            message = f"INFERENCE_ENGINE is {other!r}: set it to 'flux' or 'blank'."
            raise ImproperlyConfigured(message)


def _flux_engine(model: str) -> Engine:
    # torch takes seconds to import and is absent from the web tier.
    from inference.engines.flux import FluxEngine  # noqa: PLC0415

    return FluxEngine(model or str(MINIATURE))
