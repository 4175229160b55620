"""What the engine's tests share: the miniature and one engine that has loaded it."""

from pathlib import Path

import pytest

from inference.checkpoints import MINIATURE
from inference.engines.flux import FluxEngine


@pytest.fixture(scope="session")
def checkpoint_folder() -> Path:
    """The miniature, as a worker would find it. Read it, copy it, leave it as it is."""
    return MINIATURE


@pytest.fixture(scope="session")
def engine(checkpoint_folder: Path) -> FluxEngine:
    """A loaded engine."""
    loaded = FluxEngine(str(checkpoint_folder))
    loaded.load()
    return loaded
