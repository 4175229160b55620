"""Muon for the matrices and kernels inside a model, AdamW for all that leads in and out."""

from typing import Any

import torch
from torch import Tensor, nn

from tools.miniature.training.steps.muon import Muon

KERNEL = 4
MATRIX = 2


class Optimizer:
    """Both optimizers as one; `inside` names the parameters that Muon moves.

    Muon (https://kellerjordan.github.io/posts/muon/) takes matrices: a kernel (out, in, 3, 3) is one
    with a row for each output, and shares its memory with it.
    """

    def __init__(
        self, named: dict[str, nn.Parameter], inside: set[str], *, rate: float, inside_rate: float
    ) -> None:
        self._rate, self._inside_rate = rate, inside_rate
        self._inside = [named[name] for name in named if name in inside]
        self._matrices = [nn.Parameter(_as_matrix(parameter.data)) for parameter in self._inside]
        self._rest = [parameter for name, parameter in named.items() if name not in inside]
        self._muon = Muon(self._matrices)
        self._adam = torch.optim.AdamW(self._rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)

    def step(self, share: float) -> None:
        """Move everything by `share` of the full rate, then forget the gradients."""
        for group in self._adam.param_groups:
            group["lr"] = self._rate * share
        for parameter, matrix in zip(self._inside, self._matrices, strict=True):
            matrix.grad = None if parameter.grad is None else _as_matrix(parameter.grad)
            parameter.grad = None
        self._muon.step(self._inside_rate * share)
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict`."""
        return {"muon": self._muon.state_dict(), "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._muon.load_state_dict(state["muon"])
        self._adam.load_state_dict(state["adam"])


def inside_blocks(named: dict[str, nn.Parameter]) -> set[str]:
    """The names of the matrices within the blocks of the transformer and of both readers."""
    return {
        name
        for name, value in named.items()
        if any(part in name for part in ("blocks", "layers", ".block."))
        and value.ndim == MATRIX
        and "relative_attention_bias" not in name
    }


def _as_matrix(tensor: Tensor) -> Tensor:
    """A view of (rows, columns); of a kernel in channels-last order, as the autoencoder keeps them."""
    if tensor.ndim == KERNEL:
        return tensor.permute(0, 2, 3, 1).reshape(len(tensor), -1)
    return tensor
