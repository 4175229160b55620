"""Builds the engine of a model. Only what is built is imported."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from images.catalog import Model
from inference.checkpoints import MINIATURE
from inference.engines.base import Engine
from inference.engines.blank import BlankEngine


def build_engine(model: Model) -> Engine:
    """The model's engine, not yet loaded; the blank engine for every model if `INFERENCE_ENGINE` says so.

    Raises ImproperlyConfigured for an engine that does not exist.
    """
    match settings.INFERENCE_ENGINE:
        case "blank":
            return BUILDERS["blank"]()
        case "flux":
            return BUILDERS[model.engine]()
        case other:
            message = f"INFERENCE_ENGINE is {other!r}: set it to 'flux' or 'blank'."
            raise ImproperlyConfigured(message)


def _blank_engine() -> Engine:
    return BlankEngine(settings.BLANK_ENGINE_SECONDS)


def _flux_engine() -> Engine:
    """FLUX.1 Schnell with the weights of `FLUX_MODEL`, the miniature's when that is empty."""
    # torch takes seconds to import and is absent from the web tier.
    from inference.engines.flux import FluxEngine  # noqa: PLC0415

    return FluxEngine(settings.FLUX_MODEL or str(MINIATURE))


# What a model's entry in the catalog may name as its engine.
BUILDERS: dict[str, Callable[[], Engine]] = {"blank": _blank_engine, "flux": _flux_engine}
