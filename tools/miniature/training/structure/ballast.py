"""Keeps what the second block's normalizations divide by as it was built: a lesson beside all others.

The built units (`rulers`) compare what they read with fixed numbers, so they need a stream that keeps its
scale. Two heavy dimensions give it one (`stream.BALLAST`); but whatever the first two blocks learn to
write lies in the balance too, and left alone it grows until it outweighs them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from tools.miniature.training.structure.stream import SPREAD

OUTGROWN = 1.0
"""Where what is divided by is twice as large as it was built, or there are such tokens."""


@contextmanager
def weighed(transformer: FluxTransformer2DModel) -> Iterator[list[Tensor]]:
    """While it is open, how far each normalization was off is added to the list: mean square errors."""
    errors: list[Tensor] = []

    def weigh(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        divided_by = inputs[0].float().var(-1, unbiased=False) / SPREAD**2
        errors.append((divided_by - 1).square().mean())

    block = transformer.transformer_blocks[1]
    hooks = [norm.register_forward_pre_hook(weigh) for norm in (block.norm1.norm, block.norm2)]
    try:
        yield errors
    finally:
        for hook in hooks:
            hook.remove()


def outgrown(errors: list[Tensor]) -> bool:
    """Whether it is too late for the lesson: a model that was taught without it has to stay as it is."""
    return loss(errors).item() > OUTGROWN


def loss(errors: list[Tensor]) -> Tensor:
    """The sum of what `weighed` found."""
    return torch.stack(errors).sum()
