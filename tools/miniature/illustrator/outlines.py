"""Closed outlines as arrays of points (count, 2): x to the right, y down, about -1 to 1."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Outline = NDArray[np.float64]


def polygon(points: ArrayLike) -> Outline:
    """Straight edges between `points`."""
    return np.asarray(points, dtype=np.float64)


def smooth(points: ArrayLike, steps: int = 6) -> Outline:
    """A closed curve through `points` (a Catmull-Rom spline)."""
    here = np.asarray(points, dtype=np.float64)
    before, after, beyond = np.roll(here, 1, 0), np.roll(here, -1, 0), np.roll(here, -2, 0)
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    curve = 0.5 * (
        2 * here[:, None]
        + (after - before)[:, None] * t
        + (2 * before - 5 * here + 4 * after - beyond)[:, None] * t**2
        + (3 * here - before - 3 * after + beyond)[:, None] * t**3
    )
    return curve.reshape(-1, 2)


def ellipse(x: float, y: float, width: float, height: float, points: int = 40) -> Outline:
    """Around (x, y), with the half axes `width` and `height`."""
    turn = np.linspace(0, 2 * math.pi, points, endpoint=False)
    return np.stack([x + width * np.cos(turn), y + height * np.sin(turn)], 1)


def rectangle(left: float, top: float, right: float, bottom: float) -> Outline:
    """An upright rectangle between two corners."""
    return polygon([(left, top), (right, top), (right, bottom), (left, bottom)])


def mirrored(outline: Outline) -> Outline:
    """The outline with left and right exchanged."""
    return outline * (-1, 1)


def moved(
    outline: Outline,
    *,
    to: tuple[float, float],
    scale: float,
    mirror: bool = False,
    turn: float = 0,
) -> Outline:
    """`outline` scaled, mirrored left to right, turned by `turn` radians and put at `to`."""
    x, y = (mirrored(outline) if mirror else outline).T
    cosine, sine = math.cos(turn), math.sin(turn)
    turned = np.stack([x * cosine - y * sine, x * sine + y * cosine], 1)
    placed: Outline = turned * scale + np.asarray(to)
    return placed


def _star() -> Outline:
    turn = np.arange(10) * math.pi / 5 - math.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 1.1, 0.48)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn) + 0.08], 1)


def _heart() -> Outline:
    # https://mathworld.wolfram.com/HeartCurve.html, the sixth.
    turn = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    x = 16 * np.sin(turn) ** 3
    y = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    return np.stack([x, -y - 2.5], 1) / 16


def _ring() -> Outline:
    # Out along the seam, back along it: one outline with a hole.
    outer, inner = ellipse(0, 0, 1, 1, 49), ellipse(0, 0, 0.52, 0.52, 49)
    return np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])


def _cross() -> Outline:
    a = 0.34
    arms = [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a)]
    return polygon([*arms, *((-x, -y) for x, y in arms)])


def _crescent() -> Outline:
    # Two arcs between the same two horns: the left half of a circle, and a flatter one back.
    turn = np.linspace(math.pi * 0.38, math.pi * 1.62, 40)
    outer = np.stack([np.cos(turn), np.sin(turn)], 1)
    horn_x, horn_y = outer[0]
    back = np.linspace(-1, 1, 40)
    inner = np.stack([horn_x - 0.82 * (1 - back**2), horn_y * back], 1)
    return np.concatenate([outer, inner[1:-1]])


SHAPES: dict[str, Outline] = {
    "circle": ellipse(0, 0, 0.95, 0.95, 64),
    "square": rectangle(-0.84, -0.84, 0.84, 0.84),
    "triangle": polygon([(0, -1.0), (1.08, 0.86), (-1.08, 0.86)]),
    "star": _star(),
    "heart": _heart(),
    "diamond": polygon([(0, -1.15), (0.82, 0), (0, 1.15), (-0.82, 0)]),
    "ring": _ring(),
    "cross": _cross(),
}
"""The shapes that the miniature knows by name."""

CRESCENT = _crescent()
