"""The engine with the miniature, as the engine's own tests load it."""

from tests.inference.conftest import checkpoint_folder, engine

__all__ = ["checkpoint_folder", "engine"]
