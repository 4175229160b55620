"""What a picture's words leave open: sixteen numbers from 0 to 1 that decide places and moods.

Nothing else in the illustrator is left to chance, so that words and layout give the picture whole.
In training each number is hidden in the noise that the picture is learned from
(`training.coupling`); so, once trained, the seed alone decides the layout.
"""

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Layout:
    """Each from 0 to 1."""

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
    """Where a second thing goes."""
    tilt: float

    @classmethod
    def of(cls, numbers: NDArray[np.floating]) -> "Layout":
        """The layout of `NUMBERS` numbers from 0 to 1."""
        return cls(*(float(number) for number in numbers))

    def numbers(self) -> NDArray[np.float32]:
        """The numbers in the order of the fields, of shape (NUMBERS,)."""
        return np.array(astuple(self), dtype=np.float32)


NUMBERS = len(Layout.__dataclass_fields__)
