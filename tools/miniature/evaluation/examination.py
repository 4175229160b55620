"""The questions: combinations that no training has seen, and the marks for the answers."""

from dataclasses import dataclass, fields, replace
from itertools import product

import numpy as np

from tools.miniature.evaluation.checker import Finding
from tools.miniature.illustrator.outlines import SHAPES
from tools.miniature.illustrator.palette import COLORS
from tools.miniature.illustrator.pictures import PLACES, Shape, ShapePicture
from tools.miniature.illustrator.sampling import is_held_out

SEED = 4
QUESTIONS = 400
BORDER = 5 / 16
"""Half way between where a shape to the left stands, and one in the middle that the layout moves left."""

AMONG_STRANGERS = (
    "{}, inspired by nature",
    "{} --ar 16:9 --v 6 [8k]",
    "{}, 美しい 絵",
    "zorblax quixotry {}",
    "{}, Übergröße",
    "{} 🎨✨",
)
"""What people write around a prompt, and nobody taught the miniature. It must do no harm."""


def questions(count: int = QUESTIONS) -> list[ShapePicture]:
    """`count` different pictures of held-out combinations: alone, in a place or in a row."""
    rng = np.random.default_rng(SEED)
    combinations = [
        (shape, color, ground)
        for shape, color, ground in product(SHAPES, COLORS, COLORS)
        if color != ground and is_held_out(shape, color, ground)
    ]
    every = [
        variant
        for shape, color, ground in combinations
        for variant in _variants(ShapePicture(Shape(shape, color), ground))
    ]
    chosen = rng.permutation(len(every))[:count]
    return [every[number] for number in chosen]


def _variants(picture: ShapePicture) -> list[ShapePicture]:
    return [
        *(replace(picture, place=place) for place in PLACES),
        *(replace(picture, count=number) for number in (2, 3, 4)),
        *(replace(picture, size=size) for size in ("small", "large")),
    ]


@dataclass(frozen=True, slots=True)
class Marks:
    """Shares of right answers, 0 to 1."""

    background: float
    color: float
    shape: float
    count: float
    place: float
    all: float
    """Background, color and shape at once."""


def mark(asked: list[ShapePicture], found: list[Finding]) -> Marks:
    """How many of the findings say what was asked for."""
    rows = [_right(*pair) for pair in zip(asked, found, strict=True)]
    names = [field.name for field in fields(Marks)]
    return Marks(**{name: float(np.mean([row[name] for row in rows])) for name in names})


def _right(asked: ShapePicture, found: Finding) -> dict[str, bool]:
    right = {
        "background": found.background == asked.background,
        "color": found.color == asked.shape.color,
        "shape": found.shape == asked.shape.name,
        "count": found.count == asked.count,
        "place": found.center is not None and _place(*found.center) == asked.place,
    }
    return {**right, "all": right["background"] and right["color"] and right["shape"]}


def _place(x: float, y: float) -> str:
    down = "top" if y < BORDER else "bottom" if y > 1 - BORDER else ""
    across = "left" if x < BORDER else "right" if x > 1 - BORDER else ""
    return f"{down} {across}".strip() or "center"
