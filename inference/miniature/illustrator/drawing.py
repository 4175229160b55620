"""Draws a picture: its words (`Picture`) say what, its `Layout` where."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.miniature.illustrator import palette, things
from inference.miniature.illustrator.canvas import Canvas
from inference.miniature.illustrator.landscape import Landscape
from inference.miniature.illustrator.layout import Layout
from inference.miniature.illustrator.outlines import SHAPES, moved
from inference.miniature.illustrator.palette import COLOURS, RGB
from inference.miniature.illustrator.pictures import Picture, Scene, ShapePicture, Subject

USUAL_COLOURS = {
    "circle": "blue",
    "square": "green",
    "triangle": "orange",
    "star": "yellow",
    "heart": "red",
    "diamond": "teal",
    "ring": "purple",
    "cross": "pink",
}
"""A shape's colour where none is named; on a background of that colour it is `OTHERWISE`."""
OTHERWISE = "black"
SHAPE_SIZES = {"small": 0.115, "medium": 0.2, "large": 0.3}
"""Half a shape's width, in shares of the picture's shorter side."""
ROW_SIZES = {2: 0.85, 3: 0.52, 4: 0.42, 5: 0.34}
ROW_STEPS = {2: 1 / 2, 3: 1 / 4, 4: 1 / 4, 5: 3 / 16}
STEP = 1 / 8
"""How far things move for a step of the layout, in shares of the picture: a token of 512x512."""
SHADE = 0.1
"""How much darker or lighter the ground behind shapes can be. White and paper would not be white then."""
GROUP_SIZES = {1: 1.0, 2: 0.72, 3: 0.56}
FOOT = 7 / 8
"""Where subjects stand, in shares of the picture's height."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The middle of what a picture is of, in shares of it, and which ways the layout moves it."""

    x: float = 0.5
    y: float = 0.5
    across: bool = True
    down: bool = True

    def moved(self, layout: Layout) -> tuple[float, float]:
        """Where `layout` puts it."""
        return (
            self.x + STEP * layout.across * self.across,
            self.y + STEP * layout.down * self.down,
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


def shape_colour(name: str, colour: str | None, background: str | None) -> str:
    """The colour that a shape is drawn in."""
    if colour is not None:
        return colour
    usual = USUAL_COLOURS[name]
    return OTHERWISE if usual == background else usual


def _draw_shapes(canvas: Canvas, picture: ShapePicture, layout: Layout) -> None:
    ground: RGB = palette.PAPER if picture.background is None else COLOURS[picture.background]
    if picture.background not in {None, "white"}:
        towards = palette.INK if layout.mood < 0 else (255, 255, 255)
        ground = palette.mixed(ground, towards, SHADE * abs(layout.mood))
    canvas.background(ground)
    half = SHAPE_SIZES[picture.size]
    middle_x, middle_y = anchor(picture).moved(layout)

    def put(name: str, colour: str | None, x: float, y: float, scale: float) -> None:
        at = (canvas.wide * (middle_x + x), canvas.tall * (middle_y + y))
        own = COLOURS[shape_colour(name, colour, picture.background)]
        canvas.fill(moved(SHAPES[name], to=at, scale=scale), own)

    shape, other = picture.shape, picture.other
    if other is not None:
        scale = half * 0.85
        first, second = ((0, -0.25), (0, 0.25))
        if picture.relation == "beside":
            first, second = ((-0.25, 0), (0.25, 0))
        put(shape.name, shape.colour, *first, scale)
        put(other.name, other.colour, *second, scale)
    elif picture.count > 1:
        scale = min(half, 0.26) * ROW_SIZES[picture.count]
        for number in range(picture.count):
            x = ROW_STEPS[picture.count] * (number - (picture.count - 1) / 2)
            put(shape.name, shape.colour, x, 0, scale)
    else:
        put(shape.name, shape.colour, 0, 0, half)


def _draw_scene(canvas: Canvas, scene: Scene, layout: Layout) -> None:
    landscape = Landscape(canvas, scene, layout)
    landscape.paint_sky()
    landscape.paint_setting()
    landscape.paint_mist()
    facing = layout.facing < 1
    if scene.subject is not None and scene.other is not None:
        _draw_group(canvas, landscape, scene.subject, layout, middle=0.25, size=0.74, mirror=False)
        _draw_group(canvas, landscape, scene.other, layout, middle=0.75, size=0.74, mirror=True)
    elif scene.subject is not None:
        middle = anchor(scene).moved(layout)[0]
        _draw_group(canvas, landscape, scene.subject, layout, middle=middle, size=1, mirror=facing)
    landscape.paint_weather()


def _draw_group(
    canvas: Canvas,
    landscape: Landscape,
    subject: Subject,
    layout: Layout,
    *,
    middle: float,
    size: float,
    mirror: bool,
) -> None:
    thing = things.THINGS[subject.name]
    scale = thing.height / 2 * size * GROUP_SIZES[subject.count]
    step = 1 / 4 if size == 1 else 1 / 8
    for number in range(subject.count):
        offset = number - (subject.count - 1) / 2
        y = canvas.tall * FOOT
        if subject.name == "bird":
            y = canvas.tall * (5 / 16 - STEP / 2 * (number % 2))
        elif subject.name == "fish":
            y = canvas.tall * (0.5 + STEP * layout.down)  # the one that `anchor` moves down
        elif subject.name == "boat":
            y = canvas.tall * (FOOT - 1 / 16)
        at = (canvas.wide * (middle + step * offset), y)
        things.paint(canvas, subject.name, at=at, scale=scale, colour=subject.colour, mirror=mirror)
