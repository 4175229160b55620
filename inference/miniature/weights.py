"""Random weights from which the untrained miniature draws colourful abstract pictures.

A layer's own initialisation would give flat grey, since every signal fades on its way. So signals
keep their size here, the VAE's convolutions blur, which turns its steps of 32 pixels into soft
shapes, and the transformer moves the four latents of a token together, which hides its grid.
"""

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import Tensor, nn

BLUR = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
# The share of a 3x3 kernel that is not blur: a grain, so that pictures are not all mist.
GRAIN = 0.15
LATENTS_PER_TOKEN = 4
KERNEL_DIMENSIONS = 4  # out, in, height, width
# Size of the transformer's answer beside the noise it starts from. More, and all seeds look alike;
# less, and all prompts do.
ANSWER = 1.1
# Spread of the colours around grey, which reach from -1 to 1.
CONTRAST = 1.3


@torch.no_grad()
def draw(module: nn.Module, *, seed: int) -> None:
    """Fill every parameter of `module`, in the order of their names, from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    for name, parameter in sorted(module.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            is_scale = name.endswith("weight")
            parameter.copy_(torch.ones_like(noise) if is_scale else 0.1 * noise)
        elif id(parameter) in embeddings:
            parameter.copy_(noise)
        elif parameter.ndim == KERNEL_DIMENSIONS:
            parameter.copy_(_blurring(noise))
        else:
            parameter.copy_(noise / parameter.shape[1] ** 0.5)
    if isinstance(module, FluxTransformer2DModel):
        answer = module.proj_out.weight
        answer.copy_(ANSWER * answer[::LATENTS_PER_TOKEN].repeat_interleave(LATENTS_PER_TOKEN, 0))
    if isinstance(module, AutoencoderKL):
        module.decoder.conv_out.weight.mul_(CONTRAST)


def _blurring(noise: Tensor) -> Tensor:
    """Kernels of shape (out, in, 3, 3) or (out, in, 1, 1) that mix channels and blur."""
    kernels = noise
    if noise.shape[-1] == BLUR.shape[-1]:
        mixing = noise[:, :, 1:2, 1:2]
        # What SiLU lets through is mostly positive: unbalanced, it would tint every picture alike.
        mixing = mixing - mixing.mean(dim=1, keepdim=True)
        kernels = mixing * BLUR + GRAIN * noise / BLUR.shape[-1]
    return kernels.div(noise.shape[1] ** 0.5)
