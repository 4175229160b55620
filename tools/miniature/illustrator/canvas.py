"""A canvas with a style: the same outlines become flat color, watercolor, pixels, lines or neon."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from tools.miniature.illustrator import palette
from tools.miniature.illustrator.outlines import Outline
from tools.miniature.illustrator.palette import INK, PAPER, RGB

STYLES = ("flat", "watercolor", "pixel art", "line drawing", "neon")

TOKEN = 64
"""Pixels of one of the transformer's tokens, which is 2x2 latents of 32 pixels."""
LARGEST_UNIT = 768
"""From here on things keep their size, and a larger picture shows more around them: four of the five
sizes then have the same things in the same tokens."""
PIXEL_ART_BLOCK = 16
OVERSAMPLING = 2
"""Pillow draws without smoothing: twice as large, then halved."""
NIGHT: RGB = (14, 11, 34)
LINE_WIDTH = 0.013
"""Of a unit."""


class Canvas:
    """`width` by `height` pixels; things are placed in units: the shorter side, at most
    `LARGEST_UNIT` pixels.

    Points are (x, y) with y from 0 to `tall` downwards and x from 0 to `wide`; neither is less than 1.
    """

    def __init__(self, width: int, height: int, style: str) -> None:
        self.style = style
        self._size = (width, height)
        self._unit = min(width, height, LARGEST_UNIT)
        self.wide, self.tall = width / self._unit, height / self._unit
        self.token = TOKEN / self._unit
        if style == "pixel art":
            self._scale = self._unit / PIXEL_ART_BLOCK
            grid = (width // PIXEL_ART_BLOCK, height // PIXEL_ART_BLOCK)
        else:
            self._scale = float(self._unit * OVERSAMPLING)
            grid = (width * OVERSAMPLING, height * OVERSAMPLING)
        self._image = Image.new("RGB", grid)
        self._pen = ImageDraw.Draw(self._image)
        self._glow: Image.Image | None = None
        if style == "neon":
            self._glow = Image.new("RGB", grid)
            self._glow_pen = ImageDraw.Draw(self._glow)

    def snapped(self, place: float) -> float:
        """The nearest border between two tokens."""
        return round(place / self.token) * self.token

    def whole(self, length: float) -> float:
        """`length` in whole tokens, one at least."""
        return max(self.token, self.snapped(length))

    def background(self, top: RGB, bottom: RGB | None = None) -> None:
        """Fill everything, from `top` to `bottom`."""
        bottom = top if bottom is None else bottom
        match self.style:
            case "line drawing":
                top, bottom = (palette.mixed(PAPER, color, 0.16) for color in (top, bottom))
            case "neon":
                top, bottom = (palette.mixed(NIGHT, color, 0.5) for color in (top, bottom))
            case _:
                pass
        rows = palette.gradient(top, bottom, self._image.height)
        pixels = np.broadcast_to(rows.round().astype(np.uint8), (*self._image.size[::-1], 3))
        self._image.paste(Image.fromarray(np.ascontiguousarray(pixels)))

    def fill(self, outline: Outline, color: RGB, *, detail: bool = False) -> None:
        """Paint `outline`; a `detail` (a window, an eye) gets no line around it."""
        # Rounded, for Pillow cuts off: 63.999 and 64.001 would end a pixel apart.
        points = [(x, y) for x, y in (outline * self._scale).round(3).tolist()]
        match self.style:
            case "line drawing":
                self._pen.polygon(points, fill=palette.mixed(PAPER, color, 0.24))
                line = palette.mixed(INK, color, 0.35)
                if not detail:
                    self._pen.line([*points, points[0], points[1]], line, self._line(), "curve")
            case "neon":
                self._pen.polygon(points, fill=palette.mixed(NIGHT, color, 0.2))
                self._glow_pen.polygon(points, fill=color if detail else (0, 0, 0))
                if not detail:
                    bright = palette.mixed(color, (255, 255, 255), 0.12)
                    self._glow_pen.line(
                        [*points, points[0], points[1]], bright, self._line(), "curve"
                    )
            case _:
                self._pen.polygon(points, fill=color)

    def haze(self, top: float, bottom: float, color: RGB, strength: float) -> None:
        """Lay mist over the rows from `top` to `bottom`, strongest in their middle."""
        if self.style in {"line drawing", "neon"}:
            strength *= 0.6
        rows = np.arange(self._image.height) / self._scale
        middle, half = (top + bottom) / 2, (bottom - top) / 2
        share = strength * np.clip(1 - ((rows - middle) / half) ** 2, 0, 1)
        mask = np.broadcast_to((255 * share).astype(np.uint8)[:, None], self._image.size[::-1])
        veil = Image.fromarray(np.ascontiguousarray(mask))
        self._image.paste(color, mask=veil)
        if self._glow is not None:
            self._glow.paste((0, 0, 0), mask=veil)

    def reflect(self, shore: float, color: RGB) -> None:
        """Turn what is below `shore` into water that mirrors what is above it."""
        for image in (self._image, self._glow):
            if image is None:
                continue
            row = round(shore * self._scale)
            depth = min(row, image.height - row)
            above = image.crop((0, row - depth, image.width, row)).transpose(
                Image.Transpose.FLIP_TOP_BOTTOM
            )
            water = Image.new("RGB", above.size, palette.mixed(color, NIGHT, 0.3))
            dimmed = Image.blend(above, water, 0.35 if image is self._image else 0.5)
            image.paste(dimmed, (0, row))

    def pixels(self) -> NDArray[np.uint8]:
        """The finished picture, of shape (height, width, 3)."""
        if self.style == "pixel art":
            return np.asarray(self._image.resize(self._size, Image.Resampling.NEAREST))
        image = self._image
        if self._glow is not None:
            image = _glowing(image, self._glow, self._scale)
        image = image.reduce(OVERSAMPLING)
        if self.style == "watercolor":
            image = _watercolor(image, self._unit)
        return np.asarray(image)

    def _line(self) -> int:
        return max(1, round(LINE_WIDTH * self._scale))


def _glowing(image: Image.Image, glow: Image.Image, scale: float) -> Image.Image:
    small = glow.reduce(4)
    halo = small.filter(ImageFilter.GaussianBlur(scale * 0.022 / 4)).resize(glow.size)
    return ImageChops.lighter(ImageChops.add(image, halo), glow)


def _watercolor(image: Image.Image, unit: int) -> Image.Image:
    """Pale washes with soft, darker rims on uneven paper that stays white at its edges."""
    soft = image.filter(ImageFilter.GaussianBlur(unit * 0.005))
    wide = soft.filter(ImageFilter.BoxBlur(unit * 0.012))
    wash = np.asarray(soft, np.float32)
    rim = np.abs(wash - np.asarray(wide, np.float32)).max(2, keepdims=True)
    paper = np.array(PAPER, np.float32)
    grain, sheet = _paper(*image.size, unit)
    washed = wash + (paper - wash) * 0.22 - np.minimum(rim * 0.55, 34) + grain
    pixels = paper + (washed - paper) * sheet
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@lru_cache(maxsize=8)
def _paper(width: int, height: int, unit: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The wash's unevenness (-10 to 10) and how much color the sheet takes (0 to 1), by pixel."""
    x = np.arange(width, dtype=np.float32)[None, :] / unit
    y = np.arange(height, dtype=np.float32)[:, None] / unit
    grain = np.sin(9 * x + 3 * np.sin(7 * y)) * np.sin(8 * y + 2 * np.sin(9 * x + 1))
    wobble = 0.008 * np.sin(23 * (x + y)) + 0.006 * np.sin(37 * (x - y) + 2)
    edge = np.minimum(np.minimum(x, width / unit - x), np.minimum(y, height / unit - y))
    sheet = np.clip((edge - 0.035 - wobble) / 0.012, 0, 1)
    return (9 * grain)[..., None].astype(np.float32), sheet[..., None].astype(np.float32)
