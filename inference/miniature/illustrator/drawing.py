"""Draws a picture: its words (`Picture`) say what, its `Layout` where."""

import numpy as np
from numpy.typing import NDArray

from inference.miniature.illustrator import palette, things
from inference.miniature.illustrator.canvas import Canvas
from inference.miniature.illustrator.landscape import Landscape
from inference.miniature.illustrator.layout import STEPS, Layout
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
ROW_SIZES = {1: 1.0, 2: 0.85, 3: 0.58, 4: 0.42, 5: 0.34}
SHAPE_STEP = 1 / 16
"""How far a shape moves from its place for a step of the layout: one latent of 512x512."""
GROUP_SIZES = {1: 1.0, 2: 0.72, 3: 0.56}


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
    canvas.background(ground)
    half = SHAPE_SIZES[picture.size]
    moves = [SHAPE_STEP * STEPS * (share - 0.5) for share in (layout.across, layout.down)]

    def put(name: str, colour: str | None, x: float, y: float, scale: float) -> None:
        at = (canvas.wide * x + moves[0], canvas.tall * y + moves[1])
        own = COLOURS[shape_colour(name, colour, picture.background)]
        canvas.fill(moved(SHAPES[name], to=at, scale=scale), own)

    shape, other = picture.shape, picture.other
    if other is not None:
        scale = half * 0.85
        first, second = ((0.5, 0.25), (0.5, 0.75))
        if picture.relation == "beside":
            first, second = ((0.25, 0.5), (0.75, 0.5))
        put(shape.name, shape.colour, *first, scale)
        put(other.name, other.colour, *second, scale)
    elif picture.count > 1:
        scale = min(half, 0.26) * ROW_SIZES[picture.count]
        step = 0.86 / picture.count
        for number in range(picture.count):
            put(
                shape.name,
                shape.colour,
                0.5 + step * (number - (picture.count - 1) / 2),
                0.5,
                scale,
            )
    else:
        x, y = _place(picture.place)
        put(shape.name, shape.colour, x, y, half)


def _place(place: str) -> tuple[float, float]:
    """Where the middle of a shape comes, in shares of the picture."""
    words = place.split()
    x = 0.25 if "left" in words else 0.75 if "right" in words else 0.5
    y = 0.25 if "top" in words else 0.75 if "bottom" in words else 0.5
    return x, y


def _draw_scene(canvas: Canvas, scene: Scene, layout: Layout) -> None:
    landscape = Landscape(canvas, scene, layout)
    landscape.paint_sky()
    landscape.paint_setting()
    landscape.paint_mist()
    facing = layout.facing < 0.5  # noqa: PLR2004
    if scene.subject is not None and scene.other is not None:
        _draw_group(canvas, landscape, scene.subject, layout, middle=0.28, size=0.74, mirror=False)
        _draw_group(canvas, landscape, scene.other, layout, middle=0.72, size=0.74, mirror=True)
    elif scene.subject is not None:
        middle = 0.34 + 0.32 * layout.across if scene.subject.count == 1 else 0.5
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
    scale = thing.height / 2 * size * GROUP_SIZES[subject.count] * (0.9 + 0.2 * layout.size)
    step = (0.26 + 0.05 * layout.spread) * (1 if size == 1 else 0.5)
    foot = canvas.tall * 0.9 - 0.06 + 0.08 * layout.down
    for number in range(subject.count):
        offset = number - (subject.count - 1) / 2
        y = foot - 0.05 * (number % 2)
        if subject.name == "bird":
            y = canvas.tall * (0.3 + 0.12 * layout.down) - 0.08 * (number % 2)
        elif subject.name == "fish":
            y = canvas.tall * (0.42 + 0.14 * layout.down) + 0.1 * (number % 2)
        elif subject.name == "boat" and landscape.horizon + 0.16 > foot - 0.1:
            y = landscape.horizon + 0.16
        elif subject.name == "boat":
            y = foot - 0.1
        at = (canvas.wide * (middle + step * offset), y)
        things.paint(canvas, subject.name, at=at, scale=scale, colour=subject.colour, mirror=mirror)
