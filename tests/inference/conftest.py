"""What the engine's tests share: the miniature and one engine that has loaded it.

Every process of a parallel run reads all files of tests, and only one of them draws with torch: the
files here import it in what runs, since importing it takes as long as hundreds of tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inference.checkpoints import MINIATURE

if TYPE_CHECKING:
    from inference.engines.flux import FluxEngine


@pytest.fixture(scope="session")
def checkpoint_folder() -> Path:
    """The miniature, as a worker would find it. Read it, copy it, leave it as it is."""
    return MINIATURE


@pytest.fixture(scope="session")
def engine(checkpoint_folder: Path) -> FluxEngine:
    """A loaded engine."""
    from inference.engines.flux import FluxEngine

    loaded = FluxEngine(str(checkpoint_folder))
    loaded.load()
    return loaded
