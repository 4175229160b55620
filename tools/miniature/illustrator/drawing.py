"""Draws a picture: its words (`Picture`) say what, its `Layout` where."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.miniature.illustrator import palette, things
from tools.miniature.illustrator.canvas import Canvas
from tools.miniature.illustrator.landscape import FOOT, Landscape
from tools.miniature.illustrator.layout import Layout
from tools.miniature.illustrator.outlines import SHAPES, moved
from tools.miniature.illustrator.palette import COLORS, RGB
from tools.miniature.illustrator.pictures import Picture, Scene, ShapePicture, Subject

USUAL_COLORS = {
    "circle": "blue",
    "square": "green",
    "triangle": "orange",
    "star": "yellow",
    "heart": "red",
    "diamond": "teal",
    "ring": "purple",
    "cross": "pink",
}
"""A shape's color where none is named; on a background of that color it is `OTHERWISE`."""
OTHERWISE = "black"
SHAPE_SIZES = {"small": 0.1, "medium": 0.2, "large": 0.3}
"""Half a shape's width, in units of the canvas."""
ROW_SIZES = {2: 0.2, 3: 0.1, 4: 0.07, 5: 0.07}
"""The same for each of so many in a row."""
SHADE = 0.1
"""How much darker or lighter the ground behind shapes can be. White and paper would not be white then."""
IN_A_GROUP = 2 / 3
"""The size of each of two or three subjects: at 768x768 they are as large as one at 512x512."""
GROUPS = {1: ((0.0, 0),), 2: ((-0.25, 0), (0.25, 0)), 3: ((-0.25, -1), (0.25, -1), (0.0, 0))}
FLOATING = GROUPS | {3: ((-0.25, -1), (0.25, -1), (0.0, 1))}
"""Where each of so many is beside the middle, in units, and how many tokens lower."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The middle of what a picture is of, in shares of it, and which ways the layout moves it."""

    x: float = 0.5
    y: float = 0.5
    across: bool = True
    down: bool = True

    def on(self, canvas: Canvas, layout: Layout) -> tuple[float, float]:
        """Where `layout` puts it on `canvas`: at the place, or a token beside it."""
        return (
            canvas.wide * self.x + canvas.token * layout.across * self.across,
            canvas.tall * self.y + canvas.token * layout.down * self.down,
        )


def anchor(picture: Picture) -> Anchor:
    """The layout moves things along the axes that the words leave open."""
    if isinstance(picture, Scene):
        subject = picture.subject
        alone = subject is not None and subject.count == 1 and picture.other is None
        return Anchor(across=alone, down=subject is not None and subject.name == "fish")
    words = set(picture.place.split())
    x = 0.25 if "left" in words else 0.75 if "right" in words else 0.5
    y = 0.25 if "top" in words else 0.75 if "bottom" in words else 0.5
    pair = None if picture.other is None else picture.relation
    across = picture.count == 1 and pair != "beside" and not words & {"left", "right"}
    return Anchor(x, y, across, down=pair != "above" and not words & {"top", "bottom"})


def draw(picture: Picture, layout: Layout, *, width: int, height: int) -> NDArray[np.uint8]:
    """The picture's pixels, of shape (height, width, 3). Sides are multiples of 64."""
    canvas = Canvas(width, height, picture.style)
    if isinstance(picture, ShapePicture):
        _draw_shapes(canvas, picture, layout)
    else:
        _draw_scene(canvas, picture, layout)
    return canvas.pixels()


def shape_color(name: str, color: str | None, background: str | None) -> str:
    """The color that a shape is drawn in."""
    if color is not None:
        return color
    usual = USUAL_COLORS[name]
    return OTHERWISE if usual == background else usual


def _draw_shapes(canvas: Canvas, picture: ShapePicture, layout: Layout) -> None:
    ground: RGB = palette.PAPER if picture.background is None else COLORS[picture.background]
    if picture.background not in {None, "white"}:
        toward = palette.INK if layout.mood < 0 else (255, 255, 255)
        ground = palette.mixed(ground, toward, SHADE * abs(layout.mood))
    canvas.background(ground)
    half = SHAPE_SIZES[picture.size]
    middle_x, middle_y = anchor(picture).on(canvas, layout)

    def put(name: str, color: str | None, x: float, y: float, scale: float) -> None:
        at = (middle_x + x, middle_y + y)
        own = COLORS[shape_color(name, color, picture.background)]
        canvas.fill(moved(SHAPES[name], to=at, scale=scale), own)

    shape, other = picture.shape, picture.other
    if other is not None:
        x, y = (canvas.wide / 4, 0.0) if picture.relation == "beside" else (0.0, canvas.tall / 4)
        put(shape.name, shape.color, -x, -y, half)
        put(other.name, other.color, x, y, half)
    elif picture.count > 1:
        step = _row_step(picture.count, round(canvas.wide / canvas.token)) * canvas.token
        for number in range(picture.count):
            x = step * (number - (picture.count - 1) / 2)
            put(shape.name, shape.color, x, 0, ROW_SIZES[picture.count])
    else:
        put(shape.name, shape.color, 0, 0, half)


def _row_step(count: int, tokens: int) -> float:
    """From one of `count` in a row to the next, in a picture so many tokens wide: whole ones."""
    return {2: tokens / 2, 3: tokens / 4, 4: tokens // 8 * 2, 5: tokens * 3 // 8 / 2}[count]


def _draw_scene(canvas: Canvas, scene: Scene, layout: Layout) -> None:
    landscape = Landscape(canvas, scene, layout)
    landscape.paint_sky()
    landscape.paint_setting()
    landscape.paint_weather()
    facing = layout.facing < 1
    middle = anchor(scene).on(canvas, layout)
    if scene.subject is not None and scene.other is not None:
        _draw_group(canvas, [scene.subject, scene.other], middle, mirrored=[False, True])
    elif scene.subject is not None:
        count = scene.subject.count
        _draw_group(canvas, [scene.subject] * count, middle, mirrored=[facing] * count)


def _draw_group(
    canvas: Canvas, group: list[Subject], middle: tuple[float, float], *, mirrored: list[bool]
) -> None:
    """One to three things beside one another: fish around `middle`, all else standing below it."""
    for number, (subject, mirror) in enumerate(zip(group, mirrored, strict=True)):
        thing = things.THINGS[subject.name]
        across, lower = (FLOATING if thing.floats else GROUPS)[len(group)][number]
        y = middle[1] if thing.floats else canvas.snapped(canvas.tall * FOOT)
        at = middle[0] + across, y + canvas.token * lower
        scale = thing.height / 2 * (1 if len(group) == 1 else IN_A_GROUP)
        things.paint(canvas, subject.name, at=at, scale=scale, color=subject.color, mirror=mirror)
