"""Says what a picture of shapes shows: it looks at the pixels and knows nothing of the prompt."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from tools.miniature.illustrator.outlines import SHAPES, moved
from tools.miniature.illustrator.palette import COLORS, PAPER, RGB

BORDER = 0.04
"""The share of each side that is background for certain."""
DISTANCE = 0.5
"""A pixel is a shape's when it is further from the background than this share of the furthest."""
CLOSEST = 28.0
"""Below this distance of colors (of 441) the picture is taken as empty."""
SMALLEST = 0.002
"""Of the picture: a smaller patch is dirt."""
GRID = 48
TILTS = (-0.12, -0.06, 0.0, 0.06, 0.12)
ALIKE = 0.7
"""Share of common pixels (intersection over union) below which a patch is no shape at all."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Finding:
    """Names as in `palette.COLORS` and `outlines.SHAPES`; None for what could not be told."""

    background: str | None
    color: str | None
    shape: str | None
    count: int
    center: tuple[float, float] | None
    """Of the box around all shapes, in shares of the picture."""


def look(pixels: NDArray[np.uint8]) -> Finding:
    """What `pixels` (height, width, 3) show."""
    height, width, _ = pixels.shape
    ground = _border_color(pixels)
    patches = _patches(pixels, ground)
    background = nearest_color(ground)
    if not patches:
        return Finding(background, None, None, 0, None)
    every = np.logical_or.reduce(patches)
    inside = ndimage.binary_erosion(every, iterations=max(1, min(height, width) // 170))
    color = np.median(pixels[inside if inside.any() else every], axis=0)
    names = Counter(shape_of(patch) for patch in patches)
    rows, columns = ndimage.find_objects(every.astype(int))[0]
    return Finding(
        background=background,
        color=nearest_color(color),
        shape=names.most_common(1)[0][0],
        count=len(patches),
        center=(
            (columns.start + columns.stop) / (2 * width),
            (rows.start + rows.stop) / (2 * height),
        ),
    )


def nearest_color(color: NDArray[np.floating]) -> str | None:
    """The name of the palette's color that is closest; None for the bare paper."""
    names: dict[str | None, RGB] = {None: PAPER}
    names.update(COLORS)
    return min(names, key=lambda name: float(np.abs(np.array(names[name]) - color).sum()))


def shape_of(patch: Mask) -> str | None:
    """The shape that covers `patch` best, whatever its size and whichever way it tilts a little."""
    seen = _normalized(patch)
    alike = {
        name: max(_overlap(seen, reference) for reference in references)
        for name, references in _references().items()
    }
    best = max(alike, key=lambda name: alike[name])
    return best if alike[best] >= ALIKE else None


def _border_color(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    height, width, _ = pixels.shape
    rim = round(BORDER * min(height, width))
    edge = np.ones((height, width), dtype=bool)
    edge[rim:-rim, rim:-rim] = False
    ground: NDArray[np.float64] = np.median(pixels[edge], axis=0)
    return ground


def _patches(pixels: NDArray[np.uint8], ground: NDArray[np.float64]) -> list[Mask]:
    distance = np.linalg.norm(pixels.astype(np.float64) - ground, axis=2)
    furthest = float(np.quantile(distance, 0.999))
    if furthest < CLOSEST:
        return []
    labels, count = ndimage.label(distance > DISTANCE * furthest)
    areas = ndimage.sum_labels(np.ones_like(labels), labels, range(1, count + 1))
    least = max(SMALLEST * labels.size, 0.15 * max(areas))
    return [labels == number + 1 for number, area in enumerate(areas) if area >= least]


def _normalized(mask: Mask) -> Mask:
    """`mask` on a grid, moved and scaled to a middle and an area that are always the same."""
    middle = np.array(ndimage.center_of_mass(mask))
    scale = np.sqrt(mask.sum()) / (GRID * 0.5)
    grid = np.indices((GRID, GRID)).reshape(2, -1) - (GRID - 1) / 2
    sampled = ndimage.map_coordinates(
        mask.astype(np.float32), grid * scale + middle[:, None], order=1, mode="constant"
    )
    normalized: Mask = sampled.reshape(GRID, GRID) > 0.5  # noqa: PLR2004
    return normalized


def _overlap(first: Mask, second: Mask) -> float:
    return float((first & second).sum() / (first | second).sum())


@lru_cache(maxsize=1)
def _references() -> dict[str, list[Mask]]:
    return {
        name: [
            _normalized(_filled(moved(outline, to=(64, 64), scale=40, turn=turn))) for turn in TILTS
        ]
        for name, outline in SHAPES.items()
    }


def _filled(outline: NDArray[np.float64]) -> Mask:
    image = Image.new("1", (128, 128))
    ImageDraw.Draw(image).polygon([(x, y) for x, y in outline.tolist()], fill=1)
    return np.asarray(image)
