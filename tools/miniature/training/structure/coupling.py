"""Ties the noise that a picture is learned from to the picture's layout.

Rectified flow learns best where noise and picture belong together. Here sixteen projections of the
noise, one in each latent channel, are the normal quantiles of the sixteen numbers behind the layout.
They are uniform, so the noise stays exactly standard normal: sampling is FLUX's own, from any seed,
and the seed decides the layout. As words and layout give a picture whole, nothing is left to average
over, and four steps are enough. Half drawn, a picture still tells its layout: it is learned with the
same projections in the middle of the steps they are in, so those of a mixture with its noise are too.
"""

import torch
from torch import Tensor

from tools.miniature.illustrator.layout import STEPS, Layout

EDGE = 1e-3
"""Quantiles of 0 and 1 are infinite."""


def noise_for(layouts: Tensor, noise: Tensor) -> Tensor:
    """`noise` (pictures, 16, height, width) with its projections moved to `layouts` (pictures, 16)."""
    return moved(noise, torch.special.ndtri(layouts.clamp(EDGE, 1 - EDGE)))


def picture_for(layouts: Tensor, latents: Tensor) -> Tensor:
    """A picture's `latents` with its projections in the middle of the steps of its layout."""
    middles = ((layouts * STEPS).floor().clamp(0, STEPS - 1) + 0.5) / STEPS
    middles[:, len(Layout.__dataclass_fields__) :] = 0.5
    return moved(latents, torch.special.ndtri(middles))


def moved(latents: Tensor, wanted: Tensor) -> Tensor:
    """`latents` (pictures, 16, height, width) with these projections: (pictures, 16)."""
    change = wanted - projections(latents)
    changed: Tensor = latents + change[:, :, None, None] * _pattern(*latents.shape[-2:])
    return changed


def projections(latents: Tensor) -> Tensor:
    """How much of the pattern is in each channel: (pictures, 16), standard normal for noise."""
    found: Tensor = (latents * _pattern(*latents.shape[-2:])).sum((2, 3))
    return found


def layouts_in(noise: Tensor) -> Tensor:
    """The layouts (pictures, 16) that `noise` stands for."""
    layouts: Tensor = torch.special.ndtr(projections(noise))
    return layouts


def _pattern(height: int, width: int) -> Tensor:
    """A checkerboard of length 1: the same in every token, so an average over them tells it."""
    sign = (torch.arange(height)[:, None] + torch.arange(width)[None, :]) % 2
    pattern: Tensor = (1.0 - 2.0 * sign) / (height * width) ** 0.5
    return pattern
