"""Colors by name, and what else people call them."""

import numpy as np
from numpy.typing import NDArray

RGB = tuple[int, int, int]

COLORS: dict[str, RGB] = {
    "red": (226, 50, 46),
    "orange": (250, 140, 22),
    "yellow": (252, 214, 50),
    "green": (56, 160, 70),
    "teal": (20, 178, 170),
    "blue": (40, 98, 220),
    "purple": (124, 58, 178),
    "pink": (246, 132, 178),
    "brown": (122, 82, 56),
    "black": (30, 30, 36),
    "gray": (146, 150, 156),
    "white": (250, 250, 246),
}

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "red": ("crimson", "scarlet", "ruby"),
    "orange": ("amber",),
    "yellow": ("gold", "golden"),
    "green": ("emerald",),
    "teal": ("turquoise", "cyan"),
    "blue": ("azure", "sapphire"),
    "purple": ("violet",),
    "pink": ("rose",),
    "brown": ("bronze",),
    "black": (),
    "gray": ("grey", "silver"),
    "white": ("ivory",),
}

PAPER: RGB = (240, 228, 200)
"""What lies behind a picture that names no background."""
INK: RGB = (38, 36, 52)


def mixed(first: RGB, second: RGB, share: float) -> RGB:
    """`first` with `share` (0 to 1) of `second` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def gradient(top: RGB, bottom: RGB, rows: int) -> NDArray[np.float32]:
    """Colors from `top` to `bottom`, of shape (rows, 1, 3), 0 to 255."""
    share = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    above, below = np.array(top, np.float32), np.array(bottom, np.float32)
    return above * (1 - share) + below * share
