"""How the transformer begins: every block changes nothing, but the layout lies open.

The layout is hidden in the noise as sixteen averages over the whole picture (`coupling`). Left to
itself the transformer does not find them within hours, as each is an eighth of one token's noise; so
the first head of the first block begins as what takes these averages, and writes them where every
block can read them.
"""

import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from inference.miniature.illustrator.layout import NUMBERS

CHEQUERS = torch.tensor([0.5, -0.5, -0.5, 0.5])
"""The pattern of `coupling` within the 2x2 latents of a token."""
GAIN = 9.0
"""Brings an average over all tokens, text among them, to about the spread of a standard normal."""
NEVER_TURNED = slice(0, 8)
"""The dimensions of a head that stand for FLUX's first axis, which is 0 for every token."""


@torch.no_grad()
def begin(transformer: FluxTransformer2DModel) -> None:
    """Set the weights before the first step. Shapes are those of `parts.flux_transformer`."""
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and (".norm" in name or name == "proj_out"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    token, layout = slice(0, NUMBERS), slice(NUMBERS, 2 * NUMBERS)
    embedder = transformer.x_embedder
    embedder.weight[: 2 * NUMBERS] = 0
    embedder.bias[: 2 * NUMBERS] = 0
    for number in range(NUMBERS):
        embedder.weight[number, 4 * number : 4 * number + 4] = CHEQUERS
    block = transformer.transformer_blocks[0]
    attention = block.attn
    width, head = attention.inner_dim, attention.head_dim
    for query_or_key in (
        attention.to_q,
        attention.to_k,
        attention.add_q_proj,
        attention.add_k_proj,
    ):  # all alike: the same attention to every token
        query_or_key.weight[:head] = 0
        query_or_key.bias[:head] = 0
        query_or_key.bias[NEVER_TURNED] = 1
    for value in (attention.to_v, attention.add_v_proj):
        value.weight[token] = 0
        value.bias[token] = 0
    out = attention.to_out[0]
    out.weight[layout] = 0
    out.bias[layout] = 0
    for number in range(NUMBERS):
        attention.to_v.weight[number, number] = 1
        out.weight[NUMBERS + number, number] = GAIN
    gate = slice(2 * width + layout.start, 2 * width + layout.stop)
    block.norm1.linear.bias[gate] = 1
