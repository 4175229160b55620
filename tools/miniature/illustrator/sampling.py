"""Invents pictures to learn from, and keeps some combinations back for the examination."""

from hashlib import sha256

import numpy as np

from tools.miniature.illustrator import drawing
from tools.miniature.illustrator.canvas import STYLES
from tools.miniature.illustrator.palette import COLORS
from tools.miniature.illustrator.pictures import (
    PLACES,
    RELATIONS,
    SKY_THINGS,
    TIMES,
    WEATHERS,
    Picture,
    Scene,
    Shape,
    ShapePicture,
    Subject,
)

HELD_OUT_SHARE = 0.12
STYLE_SHARES = (0.42, 0.16, 0.15, 0.15, 0.12)
NEON_CITIES = 0.3
SHAPE_PICTURES = 0.45
SHAPE_SHARES = {
    "star": 0.16,
    "ring": 0.16,
    "cross": 0.16,
    "circle": 0.104,
    "square": 0.104,
    "triangle": 0.104,
    "heart": 0.104,
    "diamond": 0.104,
}
"""The first three have the most edges, and are drawn right last."""
KIND_SHARES = {"alone": 0.24, "placed": 0.24, "row": 0.3, "pair": 0.22}
SIDES = 0.68
"""Of what is placed, the share at a side, not in a corner: along it the layout moves things."""
ROW_SHARES = (0.2, 0.25, 0.35, 0.2)
"""Of two, three, four and five in a row."""
SIZE_SHARES = {"medium": 0.5, "small": 0.28, "large": 0.22}
SCENES_WITH_SETTING = 0.8
SCENES_WITH_SUBJECT, CITIES_WITH_SUBJECT = 0.8, 0.48
COUNT_SHARES = (0.5, 0.28, 0.22)
"""Of one, two and three of a subject: two cats are learned apart from one."""
SKY_SHARES = {"sun": 0.4, "moon": 0.2, "stars": 0.2, "clouds": 0.2}
"""The sun of the day is not seen beside the moon, nor at the other hours."""
SETTING_SHARES = {
    "forest": 0.28,
    "mountains": 0.22,
    "city": 0.2,
    "hills": 0.075,
    "sea": 0.075,
    "river": 0.075,
    "meadow": 0.075,
}
"""The first three have more to learn than the others. Under water there are fish, and they alone."""
SUBJECT_SHARES = {
    "fox": 0.17,
    "bird": 0.2,
    "cat": 0.12,
    "house": 0.12,
    "fish": 0.1,
    "boat": 0.1,
    "flower": 0.1,
    "tree": 0.09,
}


def is_held_out(shape: str, color: str, background: str) -> bool:
    """Whether this combination is kept from training. It depends on the three names alone."""
    digest = sha256(f"{color} {shape} on {background}".encode()).digest()
    return digest[0] < HELD_OUT_SHARE * 256


def invent(rng: np.random.Generator) -> Picture:
    """A picture to learn from: never one with a combination that is held out."""
    return _shapes(rng) if rng.random() < SHAPE_PICTURES else _scene(rng)


def _shapes(rng: np.random.Generator) -> ShapePicture:
    while True:
        picture = _any_shapes(rng)
        ground = picture.background
        shapes = [shape for shape in (picture.shape, picture.other) if shape is not None]
        colors = [drawing.shape_color(shape.name, shape.color, ground) for shape in shapes]
        if ground in colors or (ground is None and "white" in colors):
            continue
        if ground is None or not any(
            is_held_out(shape.name, color, ground)
            for shape, color in zip(shapes, colors, strict=True)
        ):
            return picture


def _any_shapes(rng: np.random.Generator) -> ShapePicture:
    style = _style(rng) if rng.random() < 0.5 else "flat"  # noqa: PLR2004
    background = _pick(rng, tuple(COLORS)) if rng.random() < 0.86 else None  # noqa: PLR2004
    shape = _shape(rng)
    match _weighted(rng, KIND_SHARES):
        case "row":
            count = int(rng.choice([2, 3, 4, 5], p=ROW_SHARES))
            return ShapePicture(shape, background, count=count, style=style)
        case "pair":
            return ShapePicture(
                shape, background, other=_shape(rng), relation=_pick(rng, RELATIONS), style=style
            )
        case "placed":
            place = _place(rng)
            return ShapePicture(shape, background, place=place, size=_size(rng), style=style)
        case _:
            return ShapePicture(shape, background, size=_size(rng), style=style)


def _shape(rng: np.random.Generator) -> Shape:
    color = _pick(rng, tuple(COLORS)) if rng.random() < 0.92 else None  # noqa: PLR2004
    return Shape(_weighted(rng, SHAPE_SHARES), color)


def _place(rng: np.random.Generator) -> str:
    at_a_side = rng.random() < SIDES
    return _pick(rng, tuple(place for place in PLACES[1:] if (" " in place) != at_a_side))


def _size(rng: np.random.Generator) -> str:
    return _weighted(rng, SIZE_SHARES)


def _scene(rng: np.random.Generator) -> Scene:
    setting = _setting(rng) if rng.random() < SCENES_WITH_SETTING else None
    subject = other = None
    if rng.random() < (CITIES_WITH_SUBJECT if setting == "city" else SCENES_WITH_SUBJECT):
        subject = _subject(rng)
        if subject.count == 1 and rng.random() < 0.12:  # noqa: PLR2004
            other = Subject(_subject(rng).name)
            # What swims and what stands do not share a picture.
            if (other.name == "fish") != (subject.name == "fish") or other.name == subject.name:
                other = None
    if subject is not None and subject.name == "fish":
        setting = None
    time = _pick(rng, TIMES) if rng.random() < 0.6 else None  # noqa: PLR2004
    weather = _pick(rng, WEATHERS) if rng.random() < 0.28 else None  # noqa: PLR2004
    sky = _sky(rng, time)
    if subject is not None and subject.name == "fish":
        weather, sky = None, ()
    style = "neon" if setting == "city" and rng.random() < NEON_CITIES else _style(rng)
    reflections = setting == "city" and rng.random() < (0.6 if style == "neon" else 0.15)
    if setting is None and subject is None and time is None and not sky and weather is None:
        setting = _setting(rng)
    return Scene(setting, time, weather, sky, subject, other, reflections, style)


def _setting(rng: np.random.Generator) -> str:
    return _weighted(rng, SETTING_SHARES)


def _subject(rng: np.random.Generator) -> Subject:
    name = _weighted(rng, SUBJECT_SHARES)
    color = _pick(rng, tuple(COLORS)) if rng.random() < 0.4 else None  # noqa: PLR2004
    return Subject(name, color, int(rng.choice([1, 2, 3], p=COUNT_SHARES)))


def _sky(rng: np.random.Generator, time: str | None) -> tuple[str, ...]:
    fitting = {"night": ("moon", "stars", "clouds"), "day": ("sun", "clouds"), None: SKY_THINGS}
    choices = fitting.get(time, ("sun", "clouds"))
    return tuple(thing for thing in choices if rng.random() < SKY_SHARES[thing])


def _style(rng: np.random.Generator) -> str:
    return _weighted(rng, dict(zip(STYLES, STYLE_SHARES, strict=True)))


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[rng.integers(len(choices))]


def _weighted(rng: np.random.Generator, shares: dict[str, float]) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))
