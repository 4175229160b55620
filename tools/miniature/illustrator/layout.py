"""What a picture's words leave open: a few choices that decide places and moods.

Nothing else in the illustrator is left to chance, so that words and layout give the picture whole.
Each is one of three steps, and things stand where tokens meet: what moves by any fraction of a token
has edges that take far longer to learn (docs/journal/0013).
In training the number behind each is hidden in the noise that the picture is learned from
(`training.structure.coupling`); so, once trained, the seed alone decides the layout.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS = 3
NUMBERS = 16
"""One for each latent channel, where `training.structure.coupling` hides them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Each -1, 0 or 1."""

    across: int
    """Where the subject stands, from left to right."""
    down: int
    mood: int
    """From cool to warm colors, or from dark to light ones."""
    horizon: int
    light: int
    """Where the sun or the moon is, from left to right."""
    waves: int
    """The phase of waves and weeds."""
    facing: int
    """To the left, unless it is 1."""
    cloud: int
    """Where clouds hang."""
    towers: int
    """Which of the towers are tall."""

    @classmethod
    def of(cls, numbers: NDArray[np.floating]) -> "Layout":
        """The layout of `NUMBERS` numbers from 0 to 1; the last of them are free."""
        steps = np.clip(np.floor(numbers * STEPS), 0, STEPS - 1).astype(int) - 1
        return cls(*steps[: len(cls.__dataclass_fields__)].tolist())
