"""What a picture's words leave open: sixteen choices that decide places and moods.

Nothing else in the illustrator is left to chance, so that words and layout give the picture whole.
Each is one of three steps: what moves by any fraction of a latent has edges that take far longer to
learn ([decision 13](docs/decisions/0013-layouts-have-steps.md)).
In training the number behind each is hidden in the noise that the picture is learned from
(`training.coupling`); so, once trained, the seed alone decides the layout.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """Each the middle of a step from 0 to 1."""

    across: float
    """Where the subject stands, from left to right."""
    down: float
    size: float
    horizon: float
    light_across: float
    """Where the sun or the moon is."""
    light_down: float
    mood: float
    """From cool to warm colours."""
    waves: float
    """The phase of hills, mountains and waves."""
    heights: float
    """How tall hills, mountains, trees and towers are."""
    facing: float
    """Below a half: to the left."""
    spread: float
    """How far apart the things of a group are."""
    cloud: float
    """Where clouds hang."""
    towers: float
    """Which of the towers are tall."""
    river: float
    """Which way a river bends."""
    wander: float
    """Free: nothing is drawn by it, nor by the last."""
    tilt: float

    @classmethod
    def of(cls, numbers: NDArray[np.floating]) -> "Layout":
        """The layout of `NUMBERS` numbers from 0 to 1, each moved to the middle of its step."""
        middles = (np.clip(np.floor(numbers * STEPS), 0, STEPS - 1) + 0.5) / STEPS
        return cls(*middles.tolist())


NUMBERS = len(Layout.__dataclass_fields__)
