"""Turns the smooth numbers that attention finds into marks: the layout's steps, and rulers.

A token that knows its row as one smooth number needs a steep function to draw one thing in this row and
another in the next, and networks learn steep functions last
(https://arxiv.org/abs/1806.08734). So some of the hidden units of the first two blocks' MLPs are built.
In the first block they tell which of its three steps each number of the layout is in, and which row and
column the token is in. In the second they tell how near it is to marks down and across the picture, and
to marks around what the picture is of, wherever layout and words put that. These units stay as they are
(`hold`), for they are steep: a step of training that is small for others would bend them out of shape.
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from diffusers import FluxTransformer2DModel
from diffusers.models.transformers.transformer_flux import FluxTransformerBlock
from torch import Tensor, nn

from tools.miniature.illustrator.layout import NUMBERS, STEPS, Layout
from tools.miniature.parts import WIDTH
from tools.miniature.tokenizers import T5_TOKENS
from tools.miniature.training.structure import coupling
from tools.miniature.training.structure.asking import velocity
from tools.miniature.training.structure.stream import (
    COLUMN,
    COLUMN_MARKS,
    COLUMN_SHARE,
    COUNT,
    EIGHTHS,
    LAYOUT,
    MARKS,
    MEAN_COLUMN,
    MEAN_ROW,
    MEASURE,
    MIDDLE,
    MOVES,
    NEAR_COLUMN_MARKS,
    NEAR_MARKS,
    NEAR_ROW_MARKS,
    NOTHING,
    ROW,
    ROW_MARKS,
    ROW_SHARE,
)

GRIDS = ((8, 8), (12, 12), (12, 16), (16, 12), (16, 16))
"""Rows and columns of tokens of the five sizes."""
STEEPNESS, SHARPNESS, SMOOTHNESS = 240.0, 64.0, 8.0
"""One over the width in which a step of the layout, a bend at a mark and a bend of the curve from a
share of attention to a row happen."""
BENDS = 14
"""Of that curve."""
UNITS = (95, 44)
"""How many are built in each block, of 512."""
_NAMES = list(Layout.__dataclass_fields__)
ACROSS, DOWN = (LAYOUT.start + _NAMES.index(name) for name in ("across", "down"))


def hold(transformer: FluxTransformer2DModel) -> None:
    """Keep the units as they were built."""
    for block, count in zip(transformer.transformer_blocks, UNITS, strict=True):
        into, out = block.ff.net[0].proj, block.ff.net[2]
        keep(into.weight, slice(count))
        keep(into.bias, slice(count))
        keep(out.weight, slice(None), slice(count))


def keep(parameter: nn.Parameter, *part: slice | list[int]) -> None:
    """Let training leave this part of `parameter` as it is."""

    def still(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[part] = 0
        return gradient

    parameter.register_hook(still)  # type: ignore[no-untyped-call]


@torch.no_grad()
def mark(transformer: FluxTransformer2DModel) -> None:
    """Build the units, once the attention of both blocks is."""
    first, second = transformer.transformer_blocks
    units = _Units(first)
    _tell_steps(units, transformer)
    _tell_places(units, transformer)
    units = _Units(second)
    for axis, mean, marks in ((ROW, MEAN_ROW, ROW_MARKS), (COLUMN, MEAN_COLUMN, COLUMN_MARKS)):
        bends = []
        for number in range(-1, MARKS + 1):
            # Where mark k of the picture is, (k + 0.5) / 8 of its height, in the measure of `ROW`.
            eighths = (number + 0.5) / 4
            bends.append(({axis: SHARPNESS, mean: -SHARPNESS * eighths}, SHARPNESS * (1 - eighths)))
        units.ruler(bends, marks)
    for axis, mean, marks, away in (
        (ROW, MEAN_ROW, NEAR_ROW_MARKS, (MOVES[0], EIGHTHS[0])),
        (COLUMN, MEAN_COLUMN, NEAR_COLUMN_MARKS, (MOVES[1], EIGHTHS[1])),
    ):
        sources = {axis: SHARPNESS, mean: -SHARPNESS}
        for plus, minus in away:
            sources |= {plus: -SHARPNESS, minus: SHARPNESS}
        middles = np.arange(-1, NEAR_MARKS + 1) - (NEAR_MARKS - 1) / 2
        units.ruler([(sources, -SHARPNESS * middle / MEASURE) for middle in middles], marks)


def _tell_steps(units: "_Units", transformer: FluxTransformer2DModel) -> None:
    """-1, 0 or 1 for each number of the layout; and a token up, left, down or right for two of them."""
    layout = 0.9
    normal, border = (
        float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))
        for share in (layout, 1 - 1 / STEPS)
    )
    seen = [_seen(transformer, grid, layout).mean((0, 1, 2)) for grid in GRIDS]
    counts = torch.stack([stream[COUNT] for stream in seen])
    borders = torch.stack([stream[LAYOUT].mean() for stream in seen]) / normal * border
    slope, start = np.polyfit(counts.numpy(), borders.numpy(), 1)
    targets = {number: {number: 1.0} for number in range(LAYOUT.start, LAYOUT.stop)}
    for source, (plus, minus) in ((DOWN, MOVES[0]), (ACROSS, MOVES[1])):
        targets[source] |= {plus: 0.5 / MEASURE, minus: -0.5 / MEASURE}
    for number, written in targets.items():
        for side in (-1, 1):
            for end in (-1, 1):
                units.add(
                    {number: STEEPNESS, COUNT: -STEEPNESS * side * slope},
                    -STEEPNESS * side * start + end,
                    {target: end / 2 * share for target, share in written.items()},
                )
        for target, share in written.items():
            units.always(target, -share)
        units.forget(number)


def _tell_places(units: "_Units", transformer: FluxTransformer2DModel) -> None:
    """Row and column by least squares: what bends at some of the values of a share, and of the count."""
    seen = [_seen(transformer, grid, 0.5).mean(0) for grid in GRIDS]
    counts = torch.cat([stream[:, 0, COUNT] for stream in seen])
    shares = torch.cat([stream[:, 0, ROW_SHARE] for stream in seen])
    rows = torch.cat([(torch.arange(len(stream)) - MIDDLE) / MEASURE for stream in seen])
    span = shares.max() - shares.min()
    at_shares = shares.min() + span * (torch.arange(BENDS) / BENDS - 0.05)
    at_counts = counts.min() - 0.05 + (counts.max() - counts.min()) * torch.tensor([0, 0.15, 0.5])
    bent = [
        F.gelu(SMOOTHNESS * (values[:, None] - bends), approximate="tanh")
        for values, bends in ((shares, at_shares), (counts, at_counts))
    ]
    found = torch.cat([*bent, torch.ones(len(rows), 1)], 1).double()
    # A little of a penalty: of two solutions that are as good the one with small weights.
    square = found.T @ found + 1e-7 * torch.eye(found.shape[1])
    weights = torch.linalg.solve(square, found.T @ rows.double()).tolist()
    for source, target in ((ROW_SHARE, ROW), (COLUMN_SHARE, COLUMN)):
        for bend, weight in zip(at_shares.tolist(), weights, strict=False):
            units.add({source: SMOOTHNESS}, -SMOOTHNESS * bend, {target: weight})
        units.always(target, weights[-1])
    for bend, weight in zip(at_counts.tolist(), weights[BENDS:], strict=False):
        units.add({COUNT: SMOOTHNESS}, -SMOOTHNESS * bend, {ROW: weight, COLUMN: weight})
    for share in (ROW_SHARE, COLUMN_SHARE):
        units.forget(share)


def _seen(transformer: FluxTransformer2DModel, grid: tuple[int, int], layout: float) -> Tensor:
    """What the first MLP is given of 8 pictures with this layout: (8, rows, columns, width)."""
    count, (height, width) = 8, grid
    noise = torch.randn(count, NUMBERS, 2 * height, 2 * width)
    noise = coupling.noise_for(torch.full((count, NUMBERS), layout), noise)
    given: list[Tensor] = []
    hook = transformer.transformer_blocks[0].ff.register_forward_pre_hook(
        lambda _, inputs: given.append(inputs[0])
    )
    nothing = torch.zeros(count, WIDTH), torch.zeros(count, T5_TOKENS, WIDTH)
    velocity(transformer, noise, torch.ones(count), nothing)
    hook.remove()
    stream = given[0] - given[0][..., NOTHING, None]
    return stream.reshape(count, *grid, WIDTH)


class _Units:
    """The hidden units of a double block's MLP, built one after the other from the first on."""

    def __init__(self, block: FluxTransformerBlock) -> None:
        self.taken = 0
        self._in: nn.Linear = block.ff.net[0].proj
        self._out: nn.Linear = block.ff.net[2]
        self._gates: Tensor = block.norm1.linear.bias[5 * WIDTH :]

    def add(self, sources: dict[int, float], bias: float, targets: dict[int, float]) -> None:
        """A unit that reads `sources` and writes `targets`."""
        weights = self._in.weight[self.taken]
        weights.zero_()
        self._in.bias[self.taken] = bias
        for source, weight in sources.items():
            weights[source] = weight
        # What a normalization takes off everything cancels out.
        weights[NOTHING] = -weights.sum()
        self._out.weight[:, self.taken] = 0
        for target, weight in targets.items():
            self._open(target)
            self._out.weight[target, self.taken] = weight
        self.taken += 1

    def always(self, target: int, value: float) -> None:
        """Write `value` as well."""
        self._open(target)
        self._out.bias[target] += value

    def forget(self, number: int) -> None:
        """Take `number` off itself: gelu(x) - gelu(-x) is x."""
        for sign in (-1, 1):
            self.add({number: 10.0 * sign}, 0, {number: -sign / 10})

    def ruler(self, bends: list[tuple[dict[int, float], float]], marks: range) -> None:
        """Write to each of `marks` how near it is: 1 at its bend, 0 from the bend before and after."""
        for number, (sources, bias) in enumerate(bends):
            targets = {
                marks[mark]: (1, -2, 1)[number - mark] * MEASURE / SHARPNESS
                for mark in range(max(0, number - 2), min(len(marks), number + 1))
            }
            self.add(sources, bias, targets)

    def _open(self, target: int) -> None:
        """At first no unit but those built writes there."""
        if self._gates[target]:
            return
        self._out.weight[target] = 0
        self._out.bias[target] = 0
        self._gates[target] = 1
