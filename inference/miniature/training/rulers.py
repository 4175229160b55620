"""Turns the smooth numbers that attention finds into marks: the layout's steps, and rulers.

A token that knows its row as one smooth number needs a steep function to draw one thing in this row and
another in the next, and networks learn steep functions last
(https://arxiv.org/abs/1806.08734). So some of the hidden units of the first two blocks' MLPs are built:
in the first block they tell which of its three steps each number of the layout is in; in the second
they tell how near the token is to each of eight marks down and across the picture, and to the same marks
moved with what the layout moves. These units stay as they are (`hold`), for they are steep: a step of
training that is small for others would bend them out of shape.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from diffusers.models.transformers.transformer_flux import FluxTransformerBlock
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.miniature.illustrator.layout import NUMBERS, STEPS, Layout
from inference.miniature.parts import WIDTH
from inference.miniature.tokenizers import T5_TOKENS
from inference.miniature.training import coupling
from inference.miniature.training.stream import (
    COLUMN,
    COLUMN_MARKS,
    COUNT,
    GAPS,
    LAYOUT,
    MARKS,
    MEAN_COLUMN,
    MEAN_ROW,
    MOVED_COLUMN_MARKS,
    MOVED_ROW_MARKS,
    MOVES,
    NOTHING,
    ROW,
    ROW_MARKS,
)

GRIDS = ((8, 8), (12, 12), (12, 16), (16, 12), (16, 16))
"""Rows and columns of tokens of the five sizes."""
STEEPNESS = 60.0
SHARPNESS = 30.0
"""Of a step of the layout, and of a bend at a mark: one over the width in which it happens."""
UNITS = (6 * (LAYOUT.stop - LAYOUT.start) + 16, 4 * (MARKS + 2))
"""How many are built in each block, of 512."""
_NAMES = list(Layout.__dataclass_fields__)
ACROSS, DOWN = (LAYOUT.start + _NAMES.index(name) for name in ("across", "down"))


def hold(transformer: FluxTransformer2DModel) -> None:
    """Keep the units as they were built."""
    for block, count in zip(transformer.transformer_blocks, UNITS, strict=True):
        into, out = block.ff.net[0].proj, block.ff.net[2]
        into.weight.register_hook(partial(_still, units=(slice(count),)))
        into.bias.register_hook(partial(_still, units=(slice(count),)))
        out.weight.register_hook(partial(_still, units=(slice(None), slice(count))))


@torch.no_grad()
def mark(transformer: FluxTransformer2DModel) -> None:
    """Build the units, once the attention of both blocks is."""
    first, second = transformer.transformer_blocks[:2]
    grids = [_Grid(transformer, first.ff, *sides) for sides in GRIDS]
    units = _Units(first, range(LAYOUT.start, LAYOUT.stop))
    for number in range(LAYOUT.start, LAYOUT.stop):
        units.step(grids, number, {number: 1}, height=np.ones(len(grids)))
        units.forget(number)
    units = _Units(first, range(MOVES[0][0], GAPS[1][1] + 1), taken=units.taken)
    rows, columns = ([grid.rows for grid in grids], [grid.columns for grid in grids])
    for source, places, move, gap in zip((DOWN, ACROSS), (rows, columns), MOVES, GAPS, strict=True):
        gaps = [float(np.diff(_at_marks(place)).mean()) for place in places]
        units.step(grids, source, _pair(move), height=gaps)
        units.size(_of_size(grids, gaps), _pair(gap))

    grids = [_Grid(transformer, second.ff, *sides) for sides in GRIDS]
    units = _Units(second, range(ROW_MARKS.start, MOVED_COLUMN_MARKS.stop))
    rows, columns = ([grid.rows for grid in grids], [grid.columns for grid in grids])
    units.ruler(grids, ROW, rows, ROW_MARKS)
    units.ruler(grids, COLUMN, columns, COLUMN_MARKS)
    for axis, places, marks, number in (
        (ROW, rows, MOVED_ROW_MARKS, 0),
        (COLUMN, columns, MOVED_COLUMN_MARKS, 1),
    ):
        units.ruler(grids, axis, places, marks, away=(MOVES[number], GAPS[number]))


def _still(gradient: Tensor, *, units: tuple[slice, ...]) -> Tensor:
    """`gradient` without that of `units`."""
    gradient = gradient.clone()
    gradient[units] = 0
    return gradient


class _Grid:
    """What `feed_forward` is given for pictures of so many tokens when every step is the last one."""

    def __init__(
        self, transformer: FluxTransformer2DModel, feed_forward: nn.Module, height: int, width: int
    ) -> None:
        count, layout = 8, 0.9
        noise = torch.randn(count, NUMBERS, 2 * height, 2 * width)
        noise = coupling.noise_for(torch.full((count, NUMBERS), layout), noise)
        given: list[Tensor] = []
        hook = feed_forward.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        transformer(
            hidden_states=FluxPipeline._pack_latents(noise, *noise.shape),  # noqa: SLF001
            timestep=torch.ones(count),
            pooled_projections=torch.zeros(count, WIDTH),
            encoder_hidden_states=torch.zeros(count, T5_TOKENS, WIDTH),
            txt_ids=torch.zeros(T5_TOKENS, 3),
            img_ids=FluxPipeline._prepare_latent_image_ids(  # noqa: SLF001
                count, height, width, "cpu", torch.float32
            ),
        )
        hook.remove()
        stream = (given[0] - given[0][..., NOTHING, None]).mean(0)
        stream = stream.unflatten(0, (height, width)).double().numpy()
        self.rows, self.columns = stream[..., ROW].mean(1), stream[..., COLUMN].mean(0)
        middle = stream.mean((0, 1))
        self.size = np.array([1, *middle[[COUNT, MEAN_ROW, MEAN_COLUMN]]])
        """What a unit can tell the size by; the first is its bias."""
        normal = float(torch.special.ndtri(torch.tensor(layout, dtype=torch.float64)))
        self.gain = middle[LAYOUT].mean() / normal


class _Units:
    """Hidden units of a block's MLP, from number `taken` on, that write `dimensions` alone."""

    def __init__(self, block: FluxTransformerBlock, dimensions: range, *, taken: int = 0) -> None:
        self.taken = taken
        self._in: nn.Linear = block.ff.net[0].proj
        self._out: nn.Linear = block.ff.net[2]
        rows = slice(dimensions.start, dimensions.stop)
        self._out.weight[rows] = 0
        self._out.bias[rows] = 0
        gate = 5 * WIDTH
        block.norm1.linear.bias[gate + rows.start : gate + rows.stop] = 1

    def step(
        self,
        grids: list[_Grid],
        source: int,
        targets: dict[int, float],
        *,
        height: Sequence[float],
    ) -> None:
        """Write -height, 0 or height to `targets`, as the number of the layout in `source` is."""
        border = float(torch.special.ndtri(torch.tensor(1 - 1 / STEPS)))
        borders = _of_size(grids, [border * grid.gain for grid in grids])
        heights = _of_size(grids, height)
        for side in (-1, 1):
            for end in (-1, 1):
                self._unit(
                    {source: STEEPNESS},
                    -STEEPNESS * side * borders - end * heights,
                    {target: -end / 2 * share for target, share in targets.items()},
                )
        self.size(heights, {target: -share for target, share in targets.items()})

    def size(self, weights: NDArray[np.float64], targets: dict[int, float]) -> None:
        """Write to `targets` what follows from the size by `weights`: gelu(x) - gelu(-x) is x."""
        for target, share in targets.items():
            self._out.bias[target] += weights[0] * share
        if not weights[1:].any():
            return
        for sign in (-1, 1):
            written = {target: sign / 10 * share for target, share in targets.items()}
            self._unit({}, 10 * sign * (weights - weights[0] * _FIRST), written)

    def forget(self, number: int) -> None:
        """Take `number` off itself."""
        for sign in (-1, 1):
            self._unit({number: 10.0 * sign}, 0 * _FIRST, {number: -sign / 10})

    def ruler(
        self,
        grids: list[_Grid],
        axis: int,
        places: list[NDArray[np.float64]],
        marks: range,
        *,
        away: tuple[tuple[int, int], ...] = (),
    ) -> None:
        """Write to each of `marks` how near it is: 1 at it and 0 from the next on, at 512x512.

        The marks are moved by the sum of what stands in the pairs of `away`.
        """
        usual = _at_marks(places[0])
        gaps = np.diff(usual)
        every = np.array([_at_marks(place) for place in places])
        widths = np.gradient(usual) / gaps.mean()
        for number in range(MARKS + 2):
            targets = {}
            for mark in range(max(0, number - 2), min(MARKS, number + 1)):
                before, after = 1 / gaps[mark], 1 / gaps[mark + 1]
                bend = (before, -before - after, after)[number - mark]
                targets[marks[mark]] = bend / SHARPNESS
            sources = {axis: SHARPNESS}
            for pair in away:
                sources |= {pair[0]: -SHARPNESS * widths[number], pair[1]: SHARPNESS * widths[number]}
            self._unit(sources, -SHARPNESS * _of_size(grids, every[:, number]), targets)

    def _unit(
        self, sources: dict[int, float], size: NDArray[np.float64], targets: dict[int, float]
    ) -> None:
        weights, number = self._in.weight[self.taken], self.taken
        weights.zero_()
        bias, *rest = size.tolist()
        self._in.bias[number] = bias
        for source, weight in (*sources.items(), *zip(_SIZE, rest, strict=True)):
            weights[source] += weight
        weights[NOTHING] = -weights.sum()
        self._out.weight[:, number] = 0
        for target, weight in targets.items():
            self._out.weight[target, number] = weight
        self.taken += 1


_SIZE = (COUNT, MEAN_ROW, MEAN_COLUMN)
_FIRST = np.array([1.0, 0, 0, 0])


def _of_size(grids: list[_Grid], values: Sequence[float]) -> NDArray[np.float64]:
    """The weights of `_Grid.size` that give `values`, as nearly as they can."""
    sizes = np.array([grid.size for grid in grids])
    weights: NDArray[np.float64] = np.linalg.lstsq(sizes, np.asarray(values), rcond=1e-4)[0]
    return weights


def _pair(dimensions: tuple[int, int]) -> dict[int, float]:
    plus, minus = dimensions
    return {plus: 0.5, minus: -0.5}


def _at_marks(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """What rows or columns are at the marks, and at one more before and after them."""
    marks = (np.arange(-1, MARKS + 1) + 0.5) * len(places) / MARKS - 0.5
    line = np.polynomial.Polynomial.fit(np.arange(len(places)), places, 3)
    found: NDArray[np.float64] = line(marks)
    return found
