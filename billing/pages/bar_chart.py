"""A bar chart as plain geometry, for `components/bar_chart.html` to draw: no library, no script."""

from collections.abc import Iterable
from dataclasses import dataclass

WIDTH = 720
HEIGHT = 160
GAP = 0.28  # of each bar's share
SHORTEST = 2  # units of HEIGHT, so that one image beside a thousand is visible


@dataclass(frozen=True)
class Bar:
    """One column in the chart's own units; `title` is read out and shown on hover."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class BarChart:
    """`bars` inside a box of `width` by `height`, the first to the left."""

    bars: list[Bar]
    peak: int
    width: int = WIDTH
    height: int = HEIGHT


def bar_chart(values: Iterable[tuple[int, str]]) -> BarChart:
    """Bars for (value, title) pairs, the largest as tall as the box."""
    pairs = list(values)
    peak = max((value for value, _ in pairs), default=0)
    share = WIDTH / max(len(pairs), 1)
    bars = []
    for position, (value, title) in enumerate(pairs):
        height = max(SHORTEST, HEIGHT * value / peak) if value else 0
        bars.append(
            Bar(
                x=round(share * (position + GAP / 2), 2),
                y=round(HEIGHT - height, 2),
                width=round(share * (1 - GAP), 2),
                height=round(height, 2),
                title=title,
            )
        )
    return BarChart(bars=bars, peak=peak)
