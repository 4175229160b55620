"""Single things: animals, a house, a boat, flowers, trees.

Each stands on (0, 1), reaches up to about -1 and faces right; the parts lie on one another in order.
"""

from dataclasses import dataclass

from tools.miniature.illustrator.canvas import Canvas
from tools.miniature.illustrator.outlines import (
    Outline,
    ellipse,
    mirrored,
    moved,
    polygon,
    rectangle,
    smooth,
)
from tools.miniature.illustrator.palette import COLORS, RGB, mixed

CREAM: RGB = (255, 244, 226)
DARK: RGB = (34, 30, 40)
WOOD: RGB = (120, 78, 50)
LEAF: RGB = (46, 132, 66)
LAMP: RGB = (255, 222, 120)


@dataclass(frozen=True, slots=True)
class Part:
    """One outline of a thing: its own color, or the thing's with `share` of `color` in it."""

    outline: Outline
    color: RGB | None = None
    share: float = 1.0
    detail: bool = False


@dataclass(frozen=True, slots=True)
class Thing:
    """How a thing is drawn, and its color where none is asked for."""

    parts: tuple[Part, ...]
    color: str
    height: float
    """In units of the canvas, when it is alone."""
    floats: bool = False
    """Keeps to the water: its middle, not its foot, is where it is put."""


def paint(
    canvas: Canvas,
    name: str,
    *,
    at: tuple[float, float],
    scale: float,
    color: str | None = None,
    mirror: bool = False,
    turn: float = 0,
) -> None:
    """Paint the thing `name` standing at `at`; `scale` is half its height."""
    thing = THINGS[name]
    own = COLORS[color or thing.color]
    x, y = at if thing.floats else (at[0], at[1] - scale)
    for part in thing.parts:
        shade = own if part.color is None else mixed(own, part.color, part.share)
        outline = moved(part.outline, to=(x, y), scale=scale, mirror=mirror, turn=turn)
        canvas.fill(outline, shade, detail=part.detail)


def _fox() -> tuple[Part, ...]:
    tail = [(-0.1, 0.95), (-0.7, 0.98), (-1.15, 0.55), (-1.2, -0.1), (-0.95, -0.5), (-0.72, 0.0)]
    tip = [(-1.19, 0.02), (-1.2, -0.2), (-0.95, -0.5), (-0.78, -0.12), (-0.95, -0.02)]
    body = [(0, -0.3), (0.36, 0.1), (0.5, 0.7), (0.42, 1), (-0.42, 1), (-0.5, 0.6), (-0.36, 0.05)]
    chest = [(0, -0.2), (0.22, 0.15), (0.14, 0.6), (0, 0.8), (-0.14, 0.6), (-0.22, 0.15)]
    head = [(-0.6, -1.3), (-0.28, -0.98), (0.28, -0.98), (0.6, -1.3), (0.72, -0.6), (0, 0.02)]
    cheeks = [(-0.68, -0.56), (0, 0.0), (0.68, -0.56), (0.24, -0.46), (0, -0.3), (-0.24, -0.46)]
    return (
        Part(smooth([*tail, (-0.5, 0.5)])),
        Part(smooth(tip), CREAM, detail=True),
        Part(smooth(body)),
        Part(smooth(chest), CREAM, detail=True),
        Part(polygon([*head, (-0.72, -0.6)])),
        Part(polygon(cheeks), CREAM, detail=True),
        Part(ellipse(-0.27, -0.64, 0.08, 0.11), DARK, detail=True),
        Part(ellipse(0.27, -0.64, 0.08, 0.11), DARK, detail=True),
        Part(ellipse(0, -0.06, 0.11, 0.09), DARK, detail=True),
    )


def _cat() -> tuple[Part, ...]:
    tail = [(-0.3, 0.98), (-0.85, 0.95), (-1.1, 0.55), (-0.98, 0.1), (-1.1, -0.2), (-0.88, -0.25)]
    body = [(0, -0.4), (0.42, 0.0), (0.6, 0.6), (0.5, 1), (-0.5, 1), (-0.6, 0.6), (-0.42, 0.0)]
    left_ear = [(-0.52, -0.7), (-0.5, -1.3), (-0.1, -0.98)]
    right_ear = [(0.52, -0.7), (0.5, -1.3), (0.1, -0.98)]
    return (
        Part(smooth([*tail, (-0.74, 0.1), (-0.84, 0.5), (-0.6, 0.72)])),
        Part(smooth(body)),
        Part(polygon(left_ear)),
        Part(polygon(right_ear)),
        Part(ellipse(0, -0.58, 0.56, 0.48)),
        Part(ellipse(-0.22, -0.62, 0.12, 0.13), COLORS["yellow"], detail=True),
        Part(ellipse(0.22, -0.62, 0.12, 0.13), COLORS["yellow"], detail=True),
        Part(ellipse(-0.22, -0.62, 0.05, 0.11), DARK, detail=True),
        Part(ellipse(0.22, -0.62, 0.05, 0.11), DARK, detail=True),
        Part(polygon([(-0.09, -0.42), (0.09, -0.42), (0, -0.32)]), COLORS["pink"], detail=True),
    )


def _bird() -> tuple[Part, ...]:
    wing = [(0.3, -0.15), (0.85, -0.62), (1.3, -0.85), (1.22, -0.1), (0.9, 0.4), (0.3, 0.5)]
    eye = ellipse(0.29, -0.56, 0.18, 0.2)
    pupil = ellipse(0.29, -0.54, 0.08, 0.1)
    return (
        Part(polygon([(-0.36, 0.6), (0.36, 0.6), (0.5, 1), (-0.5, 1)]), DARK, 0.45),
        Part(smooth(wing), DARK, 0.45),
        Part(mirrored(smooth(wing)), DARK, 0.45),
        Part(ellipse(0, -0.05, 0.62, 0.95)),
        Part(ellipse(0, 0.3, 0.4, 0.5), CREAM, detail=True),
        Part(eye, CREAM, detail=True),
        Part(mirrored(eye), CREAM, detail=True),
        Part(pupil, DARK, detail=True),
        Part(mirrored(pupil), DARK, detail=True),
        Part(polygon([(-0.2, -0.4), (0.2, -0.4), (0, 0.0)]), COLORS["yellow"], detail=True),
    )


def _fish() -> tuple[Part, ...]:
    body = [
        (1.05, 0.05),
        (0.6, -0.5),
        (0, -0.6),
        (-0.6, -0.3),
        (-0.9, 0),
        (-0.6, 0.3),
        (0, 0.6),
        (0.6, 0.5),
    ]
    stripe = [(0.1, -0.58), (0.3, -0.57), (0.42, 0.0), (0.3, 0.56), (0.1, 0.58), (0.2, 0.0)]
    return (
        Part(polygon([(-0.7, 0), (-1.45, -0.62), (-1.22, 0), (-1.45, 0.62)]), DARK, 0.2),
        Part(smooth([(0.3, -0.5), (-0.1, -0.92), (-0.5, -0.75), (-0.4, -0.35)]), DARK, 0.2),
        Part(smooth(body)),
        Part(smooth(stripe), CREAM, detail=True),
        Part(ellipse(0.68, -0.12, 0.15, 0.15), CREAM, detail=True),
        Part(ellipse(0.72, -0.12, 0.08, 0.08), DARK, detail=True),
    )


def _house() -> tuple[Part, ...]:
    return (
        Part(rectangle(0.42, -1.15, 0.68, -0.5), WOOD),
        Part(rectangle(-0.85, -0.2, 0.85, 1)),
        Part(polygon([(-1.1, -0.15), (0, -1.1), (1.1, -0.15)]), (150, 52, 48), 0.85),
        Part(rectangle(-0.2, 0.35, 0.22, 1), WOOD),
        Part(rectangle(-0.68, 0.05, -0.32, 0.42), LAMP, detail=True),
        Part(rectangle(0.34, 0.05, 0.7, 0.42), LAMP, detail=True),
    )


def _boat() -> tuple[Part, ...]:
    return (
        Part(rectangle(-0.06, -1.2, 0.04, 0.5), WOOD),
        Part(smooth([(0.1, -1.15), (0.62, -0.5), (0.95, 0.25), (0.1, 0.3)], 3), CREAM),
        Part(polygon([(-0.12, -0.95), (-0.75, 0.3), (-0.12, 0.3)]), CREAM, 0.75),
        Part(polygon([(-1.2, 0.42), (1.25, 0.42), (0.85, 1), (-0.8, 1)])),
    )


def _flower() -> tuple[Part, ...]:
    petals = tuple(
        Part(moved(ellipse(0.36, 0, 0.32, 0.24, 20), to=(0, -0.55), scale=1, turn=angle))
        for angle in (0.3, 1.35, 2.4, 3.44, 4.49, 5.54)
    )
    return (
        Part(rectangle(-0.06, -0.4, 0.06, 1), LEAF),
        Part(smooth([(0, 0.7), (0.3, 0.2), (0.66, 0.2), (0.4, 0.62)]), LEAF),
        Part(smooth([(0, 0.8), (-0.3, 0.36), (-0.66, 0.36), (-0.4, 0.74)]), LEAF),
        *petals,
        Part(ellipse(0, -0.55, 0.22, 0.22), COLORS["yellow"], detail=True),
    )


def _tree() -> tuple[Part, ...]:
    return (
        Part(polygon([(-0.14, 1), (-0.1, -0.2), (0.1, -0.2), (0.14, 1)]), WOOD),
        Part(
            smooth(
                [
                    (0, -1.2),
                    (0.6, -0.9),
                    (0.8, -0.3),
                    (0.4, 0.2),
                    (-0.4, 0.2),
                    (-0.8, -0.3),
                    (-0.6, -0.9),
                ]
            )
        ),
    )


def _pine() -> tuple[Part, ...]:
    return (
        Part(rectangle(-0.09, 0.6, 0.09, 1), WOOD),
        Part(polygon([(-0.5, 0.7), (0, -0.4), (0.5, 0.7)])),
        Part(polygon([(-0.42, 0.05), (0, -1), (0.42, 0.05)])),
    )


THINGS: dict[str, Thing] = {
    "fox": Thing(_fox(), "orange", 0.5),
    "cat": Thing(_cat(), "black", 0.48),
    "bird": Thing(_bird(), "red", 0.5),
    "fish": Thing(_fish(), "orange", 0.36, floats=True),
    "house": Thing(_house(), "white", 0.44),
    "boat": Thing(_boat(), "red", 0.44),
    "flower": Thing(_flower(), "pink", 0.5),
    "tree": Thing(_tree(), "green", 0.56),
}
"""What a picture can have as its subject."""

PINE = "pine"
THINGS[PINE] = Thing(_pine(), "green", 0.5)
