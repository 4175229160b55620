"""Puts the miniature together: FLUX's classes at a hundredth of the width, saved as a checkpoint.

1024x1024 pixels are 256 image tokens here instead of 4096: the VAE shrinks by 32, not by 8.
"""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from inference.engines.checkpoint import LABEL_FILE
from inference.miniature import weights
from inference.miniature.tokenizers import CLIP_TOKENS, clip_tokenizer, t5_tokenizer

NAME = "flux-miniature-random"
SEED = 400
"""Picked by eye among eight: its palette answers most to the prompt."""

WIDTH = 128
HEADS = 4
LATENT_CHANNELS = 16


def save(folder: Path) -> None:
    """Write the whole checkpoint into `folder`, as float16 safetensors in the diffusers layout."""
    pipeline = assemble().to(dtype=torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    label = {"name": NAME, "weights": "random", "note": "A stand-in. Not FLUX.1 Schnell."}
    (folder / LABEL_FILE).write_text(json.dumps(label, indent=2) + "\n", encoding="utf-8")


def assemble() -> FluxPipeline:
    """The pipeline in float32, its weights drawn from a fixed seed."""
    tokenizer, tokenizer_2 = clip_tokenizer(), t5_tokenizer()
    clip = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            max_position_embeddings=CLIP_TOKENS,
            projection_dim=WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    t5 = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer_2),
            d_model=WIDTH,
            d_kv=WIDTH // HEADS,
            d_ff=2 * WIDTH,
            num_layers=2,
            num_heads=HEADS,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
        )
    )
    vae, transformer = autoencoder(), flux_transformer()
    for number, module in enumerate((clip, t5, vae, transformer)):
        weights.draw(module, seed=SEED + number)
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            # FLUX.1 Schnell's: its timesteps do not depend on the size of the picture.
            num_train_timesteps=1000,
            shift=1.0,
            use_dynamic_shifting=False,
        ),
        vae=vae,
        text_encoder=clip,
        tokenizer=tokenizer,
        text_encoder_2=t5,
        tokenizer_2=tokenizer_2,
        transformer=transformer,
    )


def autoencoder() -> AutoencoderKL:
    """A VAE that shrinks by 32 into 16 channels: 3.8 million parameters."""
    channels = (8, 16, 32, 64, 128, 128)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        sample_size=1024,
        scaling_factor=1.0,
        shift_factor=0.0,
        force_upcast=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def flux_transformer() -> FluxTransformer2DModel:
    """FLUX's transformer with 2 double and 4 single blocks of 4 heads: 2.3 million parameters."""
    return FluxTransformer2DModel(
        in_channels=4 * LATENT_CHANNELS,  # a token is 2x2 latents
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=WIDTH // HEADS,
        num_attention_heads=HEADS,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )
