"""How the transformer begins: it answers with its noise, and knows each token's place and the layout.

Left to itself it finds neither within hours. The layout is hidden in the noise as sixteen averages
over the whole picture (`coupling`), each an eighth of one token's noise; and a token's row and column
are nowhere but in the turning of queries and keys. So the attention of the first block is built, not
learned (`hold`): its heads take both and write them where every later block can read them. What they
write is smooth; `rulers` turns it into marks.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.transformers.transformer_flux import FluxAttention
from torch import Tensor, nn

from tools.miniature.illustrator.layout import NUMBERS
from tools.miniature.parts import WIDTH
from tools.miniature.training.structure import placing, rulers
from tools.miniature.training.structure.stream import (
    BALLAST,
    COLUMN,
    COLUMN_SHARE,
    COUNT,
    EIGHTHS,
    LAYOUT,
    MEAN_COLUMN,
    MEAN_ROW,
    MIDDLE,
    MOVES,
    NOTHING,
    READ,
    ROW,
    ROW_SHARE,
    SCALE_BEFORE_MLP,
    SPREAD,
    WEIGHT,
)

HADAMARD = 0.5 * torch.tensor(
    [[1.0, -1.0, -1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]]
)
"""A base of the 2x2 latents of a token. The first is the pattern of `coupling`."""

LAYOUT_GAIN = 9.0
"""Brings an average over all tokens, text among them, to about the spread of a standard normal."""
SHARE_GAIN, MIDDLE_SHARE = 5.0, 0.4
"""Bring the share of attention that falls on text to about -1 to 1."""

SCALES = (WIDTH, SCALE_BEFORE_MLP)
"""Where a double block's modulation keeps its scales: before the attention and before the MLP."""
SHIFT_BEFORE_MLP = 3 * WIDTH
AROUND_ATTENTION = range(0, SHIFT_BEFORE_MLP, WIDTH)
AROUND_MLP = range(SHIFT_BEFORE_MLP, 6 * WIDTH, WIDTH)
"""Where it keeps shift, scale and gate, in this order."""
QUERY_REST, KEY_REST = slice(0, 4), slice(4, 8)
"""Dimensions of a head that are never turned: queries and keys keep there what shall not meet."""
SLOW_ROWS, SLOW_COLUMNS = 12, 24
"""Pairs of dimensions that turn a little, by `TURN`, from row to row or from column to column."""
TURN = 10_000 ** (-4 / 12)
STEEPNESS, LIFT = 4.0, 1.0
"""Times the sine of the turns from the middle, and this more: the logit of text there."""


def hold(transformer: FluxTransformer2DModel) -> None:
    """Keep what `begin` built as it is: training would wear it away before it is found useful.

    What the built parts read stays as well: its scale, and that nothing else is written to it.
    """
    for module in (transformer.x_embedder, transformer.transformer_blocks[0].attn):
        module.requires_grad_(requires_grad=False)
    first, second = transformer.transformer_blocks
    by_words = {dimension for pair in (*MOVES, *EIGHTHS) for dimension in pair}  # see `placing`
    still = [dimension for dimension in READ if dimension not in by_words]
    _keep_rows(first.norm1.linear, [*range(SHIFT_BEFORE_MLP), *_rows(AROUND_MLP, READ)])
    _keep_rows(first.ff.net[2], READ)
    _keep_rows(
        second.norm1.linear,
        [*_rows((*AROUND_ATTENTION, SHIFT_BEFORE_MLP), READ), *_rows((SCALE_BEFORE_MLP,), still)],
    )
    _keep_rows(second.attn.to_out[0], READ)
    for name in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj"):
        _keep_rows(getattr(second.attn, name), range(WIDTH)[_head(second.attn, 0)])
    rulers.hold(transformer)


@torch.no_grad()
def begin(transformer: FluxTransformer2DModel) -> None:
    """Set the weights before the first step. Shapes are those of `parts.flux_transformer`."""
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and (".norm" in name or name.startswith("norm_out")):
            _clear(module)
    _answer_with_the_noise(transformer)
    _load_ballast(transformer)
    first, second = (block.attn for block in transformer.transformer_blocks[:2])
    for module in (first.to_q, first.to_k, first.to_v, first.add_q_proj, first.add_k_proj):
        _clear(module)
    for module in (first.add_v_proj, first.to_out[0]):
        _clear(module)
    layout, rows, columns = (_head(first, number) for number in range(3))
    for head, pair in ((layout, None), (rows, SLOW_ROWS), (columns, SLOW_COLUMNS)):
        _attend(first, head, pair)
    for number in range(LAYOUT.stop - LAYOUT.start):
        first.to_v.weight[layout.start + number, [number, NOTHING]] = torch.tensor([1.0, -1.0])
        first.to_out[0].weight[LAYOUT.start + number, layout.start + number] = LAYOUT_GAIN
    rest_of_layout = slice(layout.start + NUMBERS, layout.stop)
    for head, target in ((rest_of_layout, COUNT), (rows, ROW_SHARE), (columns, COLUMN_SHARE)):
        first.add_v_proj.bias[head.start] = 1
        first.to_out[0].weight[target, head.start] = SHARE_GAIN
        first.to_out[0].bias[target] = -SHARE_GAIN * MIDDLE_SHARE
    _open_gate(transformer, 0, range(LAYOUT.start, COLUMN_SHARE + 1))
    _means(second)
    _open_gate(transformer, 1, range(MEAN_ROW, MEAN_COLUMN + 1))
    _open_gate(transformer, 1, range(EIGHTHS[0][0], EIGHTHS[1][1] + 1))
    rulers.mark(transformer)
    placing.begin(transformer)


def _answer_with_the_noise(transformer: FluxTransformer2DModel) -> None:
    """At first nothing is known of the picture but its mean, 0: the best velocity is the noise."""
    _clear(transformer.x_embedder)
    _clear(transformer.proj_out)
    for pattern, weights in enumerate(HADAMARD):
        for channel in range(NUMBERS):
            token = slice(4 * channel, 4 * channel + 4)
            dimension = pattern * NUMBERS + channel
            transformer.x_embedder.weight[dimension, token] = weights
            transformer.proj_out.weight[token, dimension] = weights


def _load_ballast(transformer: FluxTransformer2DModel) -> None:
    """Two dimensions that are always the same and are never read keep what normalizations divide by."""
    for embedder in (transformer.x_embedder, transformer.context_embedder):
        embedder.weight[list(BALLAST)] = 0
        embedder.bias[list(BALLAST)] = torch.tensor([WEIGHT, -WEIGHT])
    doubles, singles = transformer.transformer_blocks, transformer.single_transformer_blocks
    modulations = [norm for block in doubles for norm in (block.norm1, block.norm1_context)]
    scales = [norm.linear.bias[part : part + WIDTH] for norm in modulations for part in SCALES]
    scales += [block.norm.linear.bias[WIDTH : 2 * WIDTH] for block in singles]
    scales.append(transformer.norm_out.linear.bias[:WIDTH])
    for scale in scales:
        scale.fill_(SPREAD - 1)
        scale[list(BALLAST)] = -1


def _attend(attention: FluxAttention, head: slice, pair: int | None) -> None:
    """A head that looks at all tokens alike, or at text the more the further down or right it is."""
    full = math.sqrt(attention.head_dim)  # the logit of a query and a key that agree
    shared = STEEPNESS / full if pair else 0.0
    rest = math.sqrt((1 - shared) / 4)
    for query in (attention.to_q, attention.add_q_proj):
        query.bias[head][QUERY_REST] = rest
    lift = LIFT / full / (4 * rest) if pair else 0.0
    attention.to_k.bias[head][KEY_REST] = 0.5
    attention.add_k_proj.bias[head][KEY_REST] = math.sqrt((1 - shared) / 4 - lift**2)
    attention.add_k_proj.bias[head][QUERY_REST] = lift
    if pair:
        angle = -math.pi / 2 - MIDDLE * TURN
        attention.to_q.bias[head][pair] = math.sqrt(shared) * math.cos(angle)
        attention.to_q.bias[head][pair + 1] = math.sqrt(shared) * math.sin(angle)
        attention.add_k_proj.bias[head][pair] = math.sqrt(shared)


def _means(attention: FluxAttention) -> None:
    """The first head of the second block takes the means of rows and columns over the picture.

    An eighth of its height and of its width follow from them.
    """
    head = _head(attention, 0)
    for module in (attention.to_q, attention.to_k, attention.add_q_proj, attention.add_k_proj):
        module.weight[head] = 0
        module.bias[head] = 0
    _attend(attention, head, None)
    attention.to_k.bias[head] = attention.to_q.bias[head]
    for value in (attention.to_v, attention.add_v_proj):
        value.weight[head.start : head.start + 2] = 0
        value.bias[head.start : head.start + 2] = 0
    out = attention.to_out[0]
    for number, (source, mean) in enumerate(((ROW, MEAN_ROW), (COLUMN, MEAN_COLUMN))):
        attention.to_v.weight[head.start + number, [source, NOTHING]] = torch.tensor([1.0, -1.0])
        plus, minus = EIGHTHS[number]
        # r rows have the mean (r - 1) / 2; half of an eighth of them, in the measure of `ROW`.
        for target, share in ((mean, 1.0), (plus, 0.125), (minus, -0.125)):
            out.weight[target] = 0
            out.weight[target, head.start + number] = share
            out.bias[target] = 0 if target == mean else share


def _open_gate(transformer: FluxTransformer2DModel, block: int, dimensions: range) -> None:
    """Let the attention of a double block write there."""
    gate = 2 * WIDTH
    bias: Tensor = transformer.transformer_blocks[block].norm1.linear.bias
    bias[gate + dimensions.start : gate + dimensions.stop] = 1


def _head(attention: FluxAttention, number: int) -> slice:
    return slice(number * attention.head_dim, (number + 1) * attention.head_dim)


def _rows(parts: Iterable[int], dimensions: Iterable[int]) -> list[int]:
    """The rows of a modulation for these dimensions in each of these parts of it."""
    return [part + dimension for part in parts for dimension in dimensions]


def _keep_rows(module: nn.Linear, rows: Sequence[int]) -> None:
    for parameter in module.parameters():
        rulers.keep(parameter, list(rows))


def _clear(module: nn.Linear) -> None:
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
