"""Asks the transformer as `FluxPipeline` does."""

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from torch import Tensor

from tools.miniature import parts


def velocity(
    transformer: FluxTransformer2DModel, x: Tensor, level: Tensor, text: tuple[Tensor, Tensor]
) -> Tensor:
    """The transformer's answer in tokens, asked as `FluxPipeline` asks it."""
    pooled, sequence = text
    height, width = x.shape[-2:]
    answer: Tensor = transformer(
        hidden_states=pack(x),
        timestep=level,
        pooled_projections=pooled,
        encoder_hidden_states=sequence,
        txt_ids=torch.zeros(sequence.shape[1], 3),
        img_ids=FluxPipeline._prepare_latent_image_ids(  # noqa: SLF001 - to ask just as it asks
            len(x), height // 2, width // 2, "cpu", torch.float32
        ),
        return_dict=False,
    )[0]
    return answer


def pack(x: Tensor) -> Tensor:
    """Latents (pictures, 16, height, width) as FLUX's tokens (pictures, height * width / 4, 64)."""
    tokens: Tensor = FluxPipeline._pack_latents(x, *x.shape)  # noqa: SLF001
    return tokens


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """Undo `pack`."""
    scale = 2 ** (len(parts.VAE_CHANNELS) - 1)
    latents: Tensor = FluxPipeline._unpack_latents(  # noqa: SLF001
        tokens, height * scale, width * scale, scale
    )
    return latents
