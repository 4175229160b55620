"""Ties the noise that a picture is learned from to the picture's layout.

Rectified flow learns best where noise and picture belong together. Here sixteen projections of the
noise, one in each latent channel, are the normal quantiles of the sixteen numbers behind the layout.
They are uniform, so the noise stays exactly standard normal: sampling is FLUX's own, from any seed,
and the seed decides the layout. As words and layout give a picture whole, nothing is left to average
over, and four steps are enough.
"""

import torch
from torch import Tensor

EDGE = 1e-3
"""Quantiles of 0 and 1 are infinite."""


def noise_for(layouts: Tensor, noise: Tensor) -> Tensor:
    """`noise` (pictures, 16, height, width) with its projections moved to `layouts` (pictures, 16)."""
    wanted: Tensor = torch.special.ndtri(layouts.clamp(EDGE, 1 - EDGE))
    pattern = _pattern(*noise.shape[-2:])
    found = (noise * pattern).sum((2, 3))
    moved: Tensor = noise + (wanted - found)[:, :, None, None] * pattern
    return moved


def layouts_in(noise: Tensor) -> Tensor:
    """The layouts (pictures, 16) that `noise` stands for."""
    found: Tensor = (noise * _pattern(*noise.shape[-2:])).sum((2, 3))
    layouts: Tensor = torch.special.ndtr(found)
    return layouts


def _pattern(height: int, width: int) -> Tensor:
    """A chequerboard of length 1: pictures are smooth, so they hardly show in it."""
    sign = (torch.arange(height)[:, None] + torch.arange(width)[None, :]) % 2
    pattern: Tensor = (1.0 - 2.0 * sign) / (height * width) ** 0.5
    return pattern
