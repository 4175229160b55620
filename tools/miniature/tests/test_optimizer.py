"""Muon: what it makes of gradients, and that it moves matrices as torch's own does."""

import torch
from torch import nn

from tools.miniature.training.steps.muon import Muon, orthogonal

SHAPES = [(16, 16), (16, 16), (48, 16), (16, 64)]


def test_its_updates_have_singular_values_near_one() -> None:
    torch.manual_seed(1)
    for shape in ((3, 16, 16), (2, 48, 16), (2, 16, 48)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.shape == (shape[0], 16)
        assert values[:, :-2].min() > 0.5  # the smallest of a random square matrix need longer
        assert values.max() < 1.3


def test_it_moves_matrices_as_torchs_own_does() -> None:
    torch.manual_seed(2)
    ours = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    theirs = [nn.Parameter(matrix.detach().clone()) for matrix in ours]
    start = [matrix.detach().clone() for matrix in ours]
    muon = Muon(ours)
    reference = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        muon.step(0.01)
        reference.step()  # type: ignore[no-untyped-call]
    for one, other, before in zip(ours, theirs, start, strict=True):
        moved = (other - before).norm()
        assert (one - other).norm() < 0.02 * moved  # torch rounds to bfloat16 on the way
        assert moved > 0.05


def test_what_has_no_gradient_stays() -> None:
    matrix = nn.Parameter(torch.ones(4, 4))
    Muon([matrix]).step(0.1)
    assert torch.equal(matrix, torch.ones(4, 4))
