"""The miniature's parts: FLUX's own classes, tiny.

1024x1024 pixels are 256 image tokens here instead of 4096: the VAE shrinks by 32, not by 8.
"""

from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from tools.miniature.tokenizers import CLIP_TOKENS

WIDTH = 128
HEADS = 4
LATENT_CHANNELS = 16
VAE_CHANNELS = (8, 16, 32, 64, 128, 128)


def clip_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """CLIP's text encoder in two layers: 0.9 million parameters, half of them its bytes."""
    return CLIPTextModel(
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


def t5_encoder(tokenizer: T5TokenizerFast) -> T5EncoderModel:
    """T5's encoder in two layers."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
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


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """FLUX.1 Schnell's: its timesteps do not depend on the size of the picture."""
    return FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000, shift=1.0, use_dynamic_shifting=False
    )


def autoencoder() -> AutoencoderKL:
    """A VAE that shrinks by 32 into 16 channels: 3.8 million parameters."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(VAE_CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(VAE_CHANNELS),
        block_out_channels=VAE_CHANNELS,
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
