"""Teaches the second block where the words put things: a lesson that goes along with all others.

`rulers` tells each token how near it is to marks that the layout moves. By the scales of two pairs of
numbers the words decide whether they move, and where the marks' middle is: then what a shape looks
like has to be learned in one place only, and not once for every place of the picture.
"""

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from tools.miniature.illustrator.drawing import anchor
from tools.miniature.illustrator.pictures import Picture
from tools.miniature.training.structure.stream import (
    EIGHTHS,
    MARKS,
    MOVES,
    SCALE_BEFORE_MLP,
    SPREAD,
)

_SCALES = [SCALE_BEFORE_MLP + dimension for pair in (*MOVES, *EIGHTHS) for dimension in pair]


@torch.no_grad()
def begin(transformer: FluxTransformer2DModel) -> None:
    """Everything moves, and the middle of the marks is the picture's."""
    bias = transformer.transformer_blocks[1].norm1.linear.bias
    for pair in EIGHTHS:
        bias[[SCALE_BEFORE_MLP + dimension for dimension in pair]] = -1


def loss(
    transformer: FluxTransformer2DModel, level: Tensor, pooled: Tensor, pictures: list[Picture]
) -> Tensor:
    """Mean square error of the four answers, in shares of a move and in marks."""
    embedded = transformer.time_text_embed(1000 * level, pooled)
    norm = transformer.transformer_blocks[1].norm1
    scales = norm.linear(norm.silu(embedded))[:, _SCALES].float()
    answers: Tensor = (1 + scales) / SPREAD
    wanted = torch.tensor([_wanted(picture) for picture in pictures]).repeat_interleave(2, 1)
    return (answers - wanted).square().mean()


def _wanted(picture: Picture) -> tuple[float, float, float, float]:
    """Whether the layout moves it down, and across; how far down, and right, its middle is."""
    place = anchor(picture)
    return (
        float(place.down),
        float(place.across),
        MARKS * (place.y - 0.5),
        MARKS * (place.x - 0.5),
    )
