"""The optimizer Muon, in float32 and for all matrices of one shape at once.

torch.optim.Muon takes one matrix at a time and multiplies in bfloat16, which processors without
instructions for it do ninety times as slowly: 40 matrices took it 2 s there, and take 0.07 s here.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of the quintic that brings all singular values near one (https://kellerjordan.github.io/posts/muon/)."""
ITERATIONS = 5
SMALLEST_NORM = 1e-7
ADAM_SIZE = 0.2
"""The root mean square of an update of AdamW, which the updates here are scaled to."""


class Muon:
    """For matrices (rows, columns); with Nesterov's momentum and without weight decay."""

    def __init__(self, matrices: Sequence[Tensor]) -> None:
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for matrix in matrices:
            by_shape[matrix.shape].append(matrix)
        self._alike = list(by_shape.values())
        self._momenta = [torch.zeros(len(alike), *alike[0].shape) for alike in self._alike]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every matrix along its `grad`; none counts as zeros."""
        for alike, momentum in zip(self._alike, self._momenta, strict=True):
            gradient = torch.stack(
                [torch.zeros_like(one) if one.grad is None else one.grad for one in alike]
            )
            momentum.lerp_(gradient, 1 - MOMENTUM)
            update = orthogonal(gradient.lerp_(momentum, MOMENTUM))
            size = ADAM_SIZE * max(update.shape[1:]) ** 0.5
            torch._foreach_add_(alike, list(update), alpha=-rate * size)

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict`."""
        return {"momenta": self._momenta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        for momentum, kept in zip(self._momenta, state["momenta"], strict=True):
            momentum.copy_(kept)


def orthogonal(matrices: Tensor) -> Tensor:
    """The matrices (count, rows, columns) with all singular values near one, by Newton-Schulz."""
    first, second, third = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if is_tall else matrices
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_NORM)
    for _ in range(ITERATIONS):
        gram = wide @ wide.mT
        gram = torch.baddbmm(gram, gram, gram, beta=second, alpha=third)
        wide = torch.baddbmm(wide, gram, wide, beta=first)
    return wide.mT if is_tall else wide
