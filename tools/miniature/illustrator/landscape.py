"""Skies and settings: what stands behind and around a scene's subject."""

import math
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from tools.miniature.illustrator import things
from tools.miniature.illustrator.canvas import Canvas
from tools.miniature.illustrator.layout import Layout
from tools.miniature.illustrator.outlines import (
    CRESCENT,
    Outline,
    ellipse,
    moved,
    polygon,
    rectangle,
    smooth,
)
from tools.miniature.illustrator.palette import RGB, mixed
from tools.miniature.illustrator.pictures import Scene

SKIES: dict[str, tuple[RGB, RGB]] = {
    "day": ((92, 176, 242), (214, 240, 252)),
    "dawn": ((132, 146, 214), (255, 206, 190)),
    "sunset": ((104, 58, 142), (255, 146, 64)),
    "night": ((14, 18, 56), (54, 64, 124)),
}
LIGHTS: dict[str, tuple[RGB, float]] = {
    "day": ((255, 250, 230), 0.0),
    "dawn": ((150, 104, 150), 0.34),
    "sunset": ((116, 46, 78), 0.42),
    "night": ((18, 22, 62), 0.6),
}
"""What the hour does to the colors of the land: how much of which color it mixes in."""

GRASS: RGB = (112, 184, 92)
HILL: RGB = (62, 138, 84)
ROCK: RGB = (142, 146, 166)
SHADED: RGB = (84, 88, 114)
"""The side of a mountain that the sun does not reach."""
SNOW: RGB = (244, 248, 252)
WATER: RGB = (44, 122, 190)
PINES: RGB = (24, 86, 62)
SAND: RGB = (236, 210, 150)
MIST: RGB = (232, 236, 240)
GOLDEN = 0.618034
HORIZON = 0.6
"""Where land or water begins, in shares of the picture's height: a token above or below, too."""
FOOT = 7 / 8
"""Where subjects stand."""
MOST = 4 / 3
"""The longest side of any picture, in units."""


def scattered(count: int, wide: float, tall: float) -> Iterator[tuple[float, float]]:
    """Evenly strewn points (Roberts's R2 sequence), as many as `count` in the largest square.

    They lie the same in every size of picture.
    """
    for number in range(1, count + 1):
        x, y = (MOST * ((0.5 + number * share) % 1) for share in (0.754877, 0.569840))
        if x < wide and y < tall:
            yield x, y


class Landscape:
    """Paints the setting of `scene` on `canvas`; `horizon` is where land or water begins."""

    def __init__(self, canvas: Canvas, scene: Scene, layout: Layout) -> None:
        self._canvas, self._scene, self._layout = canvas, scene, layout
        self._light, self._strength = LIGHTS[scene.hour]
        self.horizon = canvas.snapped(canvas.tall * HORIZON) + canvas.token * layout.horizon

    def paint_sky(self) -> None:
        """The hour's colors, then what stands in the sky."""
        scene, canvas, layout = self._scene, self._canvas, self._layout
        top, bottom = SKIES[scene.hour]
        warm = (255, 186, 120) if scene.hour != "night" else (90, 50, 130)
        if scene.weather in {"mist", "rain"} and scene.hour == "day":
            top, bottom = mixed(top, (150, 160, 172), 0.6), mixed(bottom, (196, 202, 208), 0.6)
        shift = 0.08 * (1 + layout.mood)
        canvas.background(mixed(top, warm, shift * 0.6), mixed(bottom, warm, shift))
        if "stars" in scene.sky or scene.hour == "night":
            for number, (x, y) in enumerate(scattered(92, canvas.wide, canvas.tall / 2)):
                size = 0.0085 if number % 3 else 0.013
                canvas.fill(ellipse(x, y, size, size, 8), (255, 246, 214), detail=True)
        x = canvas.snapped(canvas.wide * (2 + layout.light) / 4)
        y = canvas.snapped(canvas.tall * 3 / 16)
        if scene.hour == "night" or "moon" in scene.sky:
            outline = moved(CRESCENT, to=(x, y), scale=0.1, mirror=True)
            canvas.fill(outline, (255, 240, 190))
        elif scene.hour == "sunset":
            canvas.fill(ellipse(x, self.horizon - 0.07, 0.19, 0.19), (255, 206, 92))
        elif scene.hour == "dawn":
            canvas.fill(ellipse(x, self.horizon - 0.05, 0.12, 0.12), (255, 240, 206))
        elif "sun" in scene.sky:
            self._sun(x, y)
        if "clouds" in scene.sky or scene.weather == "rain":
            self._clouds()

    def paint_setting(self) -> None:
        """Land, water or houses, from back to front."""
        painters: dict[str, Callable[[], None]] = {
            "hills": self._hills,
            "mountains": self._mountains,
            "forest": self._forest,
            "sea": self._sea,
            "river": self._river,
            "city": self._city,
            "meadow": self._meadow,
            "underwater": self._underwater,
        }
        painters[self._scene.place]()

    def paint_weather(self) -> None:
        """Mist, rain or snow behind the subject, if there is any."""
        match self._scene.weather:
            case "mist":
                color = mixed(MIST, self._light, self._strength * 0.7)
                self._canvas.haze(self.horizon - 0.16, self.horizon + 0.36, color, 0.75)
            case "rain":
                streak = polygon([(0.02, -0.36), (0.18, -0.36), (-0.02, 0.36), (-0.18, 0.36)])
                self._everywhere(streak, (206, 226, 246))
            case "snow":
                self._everywhere(ellipse(0, 0, 0.14, 0.14, 8), (255, 255, 255))
            case _:
                pass

    def _everywhere(self, outline: Outline, color: RGB) -> None:
        """`outline`, in tokens, twice in every token; the other way round in the right half.

        Everywhere alike it would be the checkerboard in which `training.structure.coupling` hides layouts.
        """
        token = self._canvas.token
        rows, columns = (round(side / token) for side in (self._canvas.tall, self._canvas.wide))
        for row, column, (x, y) in product(range(rows), range(columns), ((0.25, 0.3), (0.75, 0.8))):
            across = 1 - x if column >= columns / 2 else x
            at = token * (column + across), token * (row + y)
            self._canvas.fill(moved(outline, to=at, scale=token), color, detail=True)

    def lit(self, color: RGB, *, depth: float = 0) -> RGB:
        """`color` in the light of the hour; `depth` (0 to 1) fades it toward the sky."""
        if self._scene.weather == "snow":
            color = mixed(color, SNOW, 0.86)
        color = mixed(color, SKIES[self._scene.hour][1], depth)
        warm = (210, 190, 80)
        return mixed(
            mixed(color, warm, 0.07 * (1 + self._layout.mood)), self._light, self._strength
        )

    def _sun(self, x: float, y: float) -> None:
        for number in range(10):
            ray = polygon([(0.155, -0.022), (0.215, 0), (0.155, 0.022)])
            self._canvas.fill(
                moved(ray, to=(x, y), scale=1, turn=number * math.pi / 5),
                (255, 196, 40),
                detail=True,
            )
        self._canvas.fill(ellipse(x, y, 0.125, 0.125), (255, 212, 54))

    def _clouds(self) -> None:
        canvas, layout = self._canvas, self._layout
        color = mixed(
            (255, 255, 255),
            SKIES[self._scene.hour][0],
            0.45 if self._scene.hour == "night" else 0.06,
        )
        if self._scene.weather == "rain":
            color = mixed(color, (110, 120, 140), 0.55)
        for number in range(3):
            x = canvas.snapped(canvas.wide * ((2 + 3 * number) % 8) / 8)
            x += canvas.token * layout.cloud
            y = canvas.snapped(canvas.tall * (2 + number % 2) / 16)
            puff = [
                (-0.17, 0.05),
                (-0.13, -0.02),
                (-0.06, -0.03),
                (0.0, -0.085),
                (0.08, -0.03),
                (0.14, -0.02),
                (0.17, 0.05),
            ]
            canvas.fill(moved(smooth(puff), to=(x, y), scale=1), color)

    def _ridge(self, level: float, height: float, period: float, shift: int = 0) -> Outline:
        """A skyline of equal hills above `level`, closed along the bottom of the picture.

        `height` and `period` in units; `shift`, in tokens, moves them to the right.
        """
        x = np.linspace(-0.02, self._canvas.wide + 0.02, 97)
        turn = 2 * math.pi * (x - shift * self._canvas.token) / period
        y = level - height * (0.5 + 0.5 * np.cos(turn))
        foot = self._canvas.tall + 0.02
        return np.concatenate([np.stack([x, y], 1), [[x[-1], foot], [x[0], foot]]])

    def _ground(self, level: float, color: RGB) -> None:
        """Everything below `level`."""
        right, bottom = self._canvas.wide + 0.02, self._canvas.tall + 0.02
        self._canvas.fill(rectangle(-0.02, level, right, bottom), color)

    def _hills(self) -> None:
        canvas = self._canvas
        period = canvas.whole(1 / 2)
        back = self._ridge(self.horizon, canvas.whole(1 / 6), period)
        canvas.fill(back, self.lit(HILL))
        level = self.horizon + canvas.whole(1 / 8)
        front = self._ridge(level, canvas.token, 2 * period, shift=2)
        canvas.fill(front, self.lit(GRASS))

    def _mountains(self) -> None:
        """Two kinds of peaks in turns, their sides as steep as the diagonals of tokens."""
        canvas = self._canvas
        foot = self.horizon + canvas.token
        step, cap = canvas.whole(3 / 8), canvas.whole(1 / 8)
        for high in (True, False):
            tall = canvas.whole(1 / 2) if high else step
            for number in range(math.ceil(canvas.wide / step / 2) + 2):
                x = step * (2 * number - high) + canvas.token
                peak = (x, foot - tall)
                canvas.fill(polygon([(x - tall, foot), peak, (x + tall, foot)]), self.lit(SHADED))
                canvas.fill(
                    polygon([(x - tall, foot), peak, (x, foot)]), self.lit(ROCK), detail=True
                )
                snow = polygon([(0, 0), (1, 1), (0.4, 0.8), (0, 1.2), (-0.4, 0.8), (-1, 1)])
                color = mixed(SNOW, self._light, self._strength * 0.6)
                canvas.fill(moved(snow, to=peak, scale=cap), color, detail=True)
        self._ground(foot, self.lit(GRASS))

    def _forest(self) -> None:
        """A row of pines, and the crowns of more in the gaps between them."""
        canvas = self._canvas
        self._ground(self.horizon, self.lit(GRASS))
        step = canvas.whole(1 / 4)
        numbers = range(-1, math.ceil(canvas.wide / step) + 2)
        crowns = [
            (step * (number + share), self.horizon - step * tall)
            for number in numbers
            for share, tall in ((0, 0.25), (0.5, 1.75))
        ]
        ends = [(crowns[-1][0], self.horizon), (crowns[0][0], self.horizon)]
        canvas.fill(polygon([*crowns, *ends]), self.lit(PINES, depth=0.5))
        for number in numbers:
            foot = self.horizon + canvas.token
            self._pine(step * number, foot, 2 * step, self.lit(PINES))

    def _pine(self, x: float, foot: float, tall: float, color: RGB) -> None:
        for part in things.THINGS[things.PINE].parts:
            outline = moved(part.outline, to=(x, foot - tall / 2), scale=tall / 2)
            self._canvas.fill(outline, self.lit(part.color) if part.color else color)

    def _sea(self) -> None:
        canvas, layout = self._canvas, self._layout
        shore = self.horizon
        self._water(shore)
        wave = smooth([(-1.1, 0), (0, -0.11), (1.1, 0), (0, 0.06)])
        for row in range(self._rows(shore)):
            y = shore + canvas.token * (row + 0.5)
            for column in range(round(canvas.wide / canvas.token / 4) + 1):
                x = canvas.token * (4 * column + 2 * (row % 2) + layout.waves)
                canvas.fill(
                    moved(wave, to=(x, y), scale=canvas.token),
                    mixed(self.lit(WATER), (255, 255, 255), 0.5),
                    detail=True,
                )

    def _water(self, shore: float) -> None:
        canvas = self._canvas
        rows = self._rows(shore)
        for row in range(rows):
            top = shore + canvas.token * row
            depth = 0.3 * (1 - row / rows)
            color = mixed(self.lit(WATER, depth=depth), SKIES[self._scene.hour][1], 0.12)
            self._ground(top, color)

    def _rows(self, shore: float) -> int:
        """How many rows of tokens are below `shore`."""
        return round((self._canvas.tall - shore) / self._canvas.token)

    def _river(self) -> None:
        """A band of water whose near bank is where subjects stand, wherever the horizon is."""
        canvas = self._canvas
        self._hills()
        wide = canvas.whole(1 / 6)
        top = canvas.snapped(canvas.tall * FOOT) - wide
        x = np.linspace(-0.02, canvas.wide + 0.02, 97)
        bank = top + 0.12 * canvas.token * np.sin(math.pi * x / canvas.token)
        below = np.stack([x, bank + wide], 1)[::-1]
        water = np.concatenate([np.stack([x, bank], 1), below])
        canvas.fill(water, self.lit(WATER))

    def _city(self) -> None:
        canvas, scene = self._canvas, self._scene
        water = scene.reflections
        foot = self.horizon + canvas.token * (1 if water else 2)
        self._ground(foot, self.lit((92, 96, 108)))
        self._towers(foot, depth=0.4, tall=0.54)
        self._towers(foot, depth=0.0, tall=0.36)
        if water:
            canvas.reflect(foot, self.lit(WATER))

    def _towers(self, foot: float, *, depth: float, tall: float) -> None:
        """A row of towers two tokens wide; those at the back stand in the gaps of those before."""
        canvas, layout, token = self._canvas, self._layout, self._canvas.token
        is_dark = self._scene.hour != "day" or self._scene.style == "neon"
        if self._scene.style == "neon":
            bodies: list[RGB] = [(255, 60, 170), (40, 220, 240), (160, 90, 255)]
        else:
            body = (70, 78, 112) if is_dark else (120, 134, 164)
            bodies = [
                self.lit(mixed(body, (190, 140, 130), 0.25 * kind), depth=depth)
                for kind in range(3)
            ]
        window = (255, 224, 120) if is_dark else (206, 228, 246)
        for number in range(round(canvas.wide / token / 2) + 1):
            left = token * (2 * number - (0 if depth else 1))
            wave = math.sin(2 * math.pi * (layout.towers / 3 + number * GOLDEN))
            top = foot - canvas.snapped(tall * (0.7 + 0.3 * wave))
            outline = rectangle(left + 0.14 * token, top, left + 1.86 * token, foot + 0.002)
            canvas.fill(outline, bodies[number % 3])
            if depth:
                continue
            for row, middle in product(range(round((foot - top) / token)), (0.62, 1.38)):
                x, y = left + token * middle, top + token * (row + 0.5)
                at = rectangle(x - 0.2 * token, y - 0.25 * token, x + 0.2 * token, y + 0.25 * token)
                canvas.fill(at, window, detail=True)

    def _meadow(self) -> None:
        canvas = self._canvas
        back = self._ridge(self.horizon, canvas.token, canvas.whole(1))
        canvas.fill(back, self.lit(HILL))
        self._ground(self.horizon, self.lit(GRASS))
        colors = ((246, 132, 178), (252, 214, 50), (250, 250, 246), (226, 50, 46))
        for number, (x, up) in enumerate(scattered(110, canvas.wide, 0.22)):
            y, size = canvas.tall - up, 0.024 - 0.03 * up
            canvas.fill(ellipse(x, y, 1.6 * size, 1.6 * size, 10), colors[number % 4], detail=True)

    def _underwater(self) -> None:
        canvas, layout = self._canvas, self._layout
        deep = mixed((20, 80, 150), (20, 140, 150), (1 + layout.mood) / 2)
        canvas.background(self.lit((96, 200, 226)), self.lit(deep))
        floor = self._ridge(canvas.tall - 0.06, 0.05, canvas.whole(1), 2 * layout.waves)
        for number in range(4):
            x = canvas.snapped(canvas.wide * (1 + 2 * number) / 8) + canvas.token * layout.waves
            tall = 0.22 + 0.1 * math.sin(3 * number)
            blade = [
                (-0.03, 0.02),
                (-0.05, -tall * 0.5),
                (0.01, -tall),
                (0.05, -tall * 0.5),
                (0.03, 0.02),
            ]
            canvas.fill(
                moved(smooth(blade), to=(x, canvas.tall - 0.06), scale=1), self.lit((40, 140, 90))
            )
        canvas.fill(floor, self.lit(SAND))
        for number in range(6):
            x = canvas.snapped(canvas.wide * (4 + 3 * layout.cloud) / 8)
            y = canvas.token * (number + 1)
            canvas.fill(
                ellipse(x + 0.03 * math.sin(2 * number), y, 0.016, 0.016, 12), (220, 244, 252)
            )
