"""Trains the autoencoder, which turns 32x32 pixels into 16 numbers and back."""

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.miniature.illustrator.drawing import draw
from tools.miniature.illustrator.layout import NUMBERS, Layout
from tools.miniature.illustrator.sampling import invent
from tools.miniature.parts import autoencoder
from tools.miniature.training.steps import precision
from tools.miniature.training.steps.optimizer import Optimizer
from tools.miniature.training.steps.progress import resumable

SEED = 1
POOL = 1200
"""Pictures that the crops are cut from."""
POOL_SIZES = ((512, 512), (512, 512), (512, 512), (768, 768), (1024, 768), (1024, 1024))
PIXELS_A_STEP = 4 * 256 * 256
CROPS = (128, 192, 256, 256, 384, 512)
LEARNING_RATE = 5e-4
WARM_UP = 50
NOISE, LATE_NOISE = 0.1, 0.2
"""The most noise that is laid on the latents, before and after they are standardized: what is drawn
from them must forgive errors."""
NEAR = 0.5
"""How much it counts that latents are far from those of the autoencoder that this one goes on from."""
COLORS = 3
"""The first latents begin as red, green and blue, and stay the patch's color; the others learn its
edges."""
CARRIED = 2 * COLORS
"""Channels that carry the colors and their negatives from end to end."""
TENT = torch.tensor([0.25, 0.5, 0.25])
KERNEL = 4
STEADY = 3.0
"""Two further channels hold plus and minus this, so that no normalization hides how bright all is."""


def train(
    folder: Path,
    *,
    steps: int,
    start: AutoencoderKL | None = None,
    deadline: float | None = None,
) -> AutoencoderKL | None:
    """The trained autoencoder, with latents of mean 0 and spread 1; None when time ran out.

    One that goes on from `start` keeps near to its latents, as a transformer knows them already.
    """
    torch.manual_seed(SEED)
    model = autoencoder()
    if start is None:
        begin_as_average(model)
    else:
        model.load_state_dict(start.state_dict())
    model = model.to(memory_format=torch.channels_last)
    named = dict(model.named_parameters())
    inside = {name for name, value in named.items() if value.ndim == KERNEL and "conv_" not in name}
    optimizer = Optimizer(named, inside, rate=LEARNING_RATE, inside_rate=LEARNING_RATE)

    halfway = steps // 2 if start is None else -1

    def step(number: int) -> float:
        pool = _pool()
        if number == halfway:
            standardize(model, pool)
        generator = torch.Generator().manual_seed(SEED * 1_000_003 + number)
        pixels = _crops(pool, np.random.default_rng((SEED, number)))
        with precision.quickest():
            latents: Tensor = model.encode(pixels).latent_dist.mean.float()
            level = (NOISE if number < halfway else LATE_NOISE) * torch.rand(
                len(latents), 1, 1, 1, generator=generator
            )
            noise = torch.randn(latents.shape, generator=generator)
            drawn = model.decode(latents + level * noise).sample.float()
        loss = _difference(drawn, pixels) + 1e-4 * latents.square().mean()
        if start is not None:
            loss = loss + NEAR * (latents - _encoded(start, pixels)).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(_share(number, steps))
        return float(loss.item())

    finished = resumable(
        "autoencoder",
        folder / "autoencoder.pt",
        steps=steps,
        step=step,
        kept={"model": model, "optimizer": optimizer},
        deadline=deadline,
    )
    if not finished:
        return None
    return model.eval()


@torch.no_grad()
def _encoded(model: AutoencoderKL, pixels: Tensor) -> Tensor:
    with precision.quickest():
        latents: Tensor = model.encode(pixels).latent_dist.mean.float()
    return latents


@torch.no_grad()
def begin_as_average(model: AutoencoderKL) -> None:
    """Start as an autoencoder that keeps each patch's average color.

    silu(x) - silu(-x) = x, so a color and its negative pass every activation unharmed; the blocks
    in between begin as small corrections.
    """
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d) or module.bias is None:
            continue
        if name.endswith("conv2"):
            module.weight.mul_(0.1)
            nn.init.zeros_(module.bias)
        elif name.endswith("conv_shortcut") or "samplers" in name:
            module.weight.mul_(0.1)
            nn.init.zeros_(module.bias)
            module.weight[: CARRIED + 2] = 0
            for channel in range(CARRIED + 2):
                if "downsamplers" in name:  # pads right and below: the first 2x2 taps
                    module.weight[channel, channel, :2, :2] = 0.25
                elif "upsamplers" in name:  # nearest, then a tent: linear interpolation
                    module.weight[channel, channel] = torch.outer(TENT, TENT)
                else:
                    middle = module.weight.shape[-1] // 2
                    module.weight[channel, channel, middle, middle] = 1
    for ends in (model.encoder, model.decoder):
        ends.conv_in.weight[: CARRIED + 2] = 0
        ends.conv_in.bias[: CARRIED + 2] = 0
        for color in range(COLORS):
            ends.conv_in.weight[color, color, 1, 1] = 1
            ends.conv_in.weight[color + COLORS, color, 1, 1] = -1
            ends.conv_out.weight[color] = 0
            size = _usual_size(ends.conv_out.in_channels)
            ends.conv_out.weight[color, color, 1, 1] = size
            ends.conv_out.weight[color, color + COLORS, 1, 1] = -size
        ends.conv_in.bias[CARRIED] = STEADY
        ends.conv_in.bias[CARRIED + 1] = -STEADY
        ends.conv_out.bias[:COLORS] = 0


def _usual_size(channels: int) -> float:
    """What the last normalization divides by for a color of middling strength."""
    return math.sqrt((2 * STEADY**2 + 2 * 3 * 0.35) / channels)


@torch.no_grad()
def standardize(model: AutoencoderKL, pool: list[NDArray[np.uint8]]) -> None:
    """Give each latent mean 0 and spread 1 over `pool`, by the convolutions on both sides."""
    latents = torch.cat(
        [
            model.encode(_to_tensor(picture)[None]).latent_dist.mean.flatten(2)[0]
            for picture in pool[:300]
        ],
        1,
    )
    mean, spread = latents.mean(1), latents.std(1)
    channels = len(mean)
    out, into = model.encoder.conv_out, model.decoder.conv_in
    out.weight[:channels] /= spread[:, None, None, None]
    out.bias[:channels] = (out.bias[:channels] - mean) / spread
    into.bias += (into.weight.sum((2, 3)) * mean).sum(1)
    into.weight *= spread[None, :, None, None]


def _share(number: int, steps: int) -> float:
    """The share of the full learning rate: a warm-up, then down half a cosine."""
    return min(1.0, (number + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * number / steps)) + 0.01


def _difference(drawn: Tensor, wanted: Tensor) -> Tensor:
    loss = F.l1_loss(drawn, wanted) + F.mse_loss(drawn, wanted)
    for axis in (2, 3):  # edges
        loss = loss + F.l1_loss(drawn.diff(dim=axis), wanted.diff(dim=axis))
    return loss


@lru_cache(maxsize=1)
def _pool() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng((SEED, 0xA))
    sizes = (POOL_SIZES[number % len(POOL_SIZES)] for number in range(POOL))
    return [
        draw(invent(rng), Layout.of(rng.random(NUMBERS)), width=width, height=height)
        for width, height in sizes
    ]


def _crops(pool: list[NDArray[np.uint8]], rng: np.random.Generator) -> Tensor:
    side = CROPS[rng.integers(len(CROPS))]
    crops = []
    for _ in range(PIXELS_A_STEP // side**2):
        picture = pool[rng.integers(len(pool))]
        top = 32 * rng.integers((picture.shape[0] - side) // 32 + 1)
        left = 32 * rng.integers((picture.shape[1] - side) // 32 + 1)
        crops.append(_to_tensor(picture[top : top + side, left : left + side]))
    return torch.stack(crops).to(memory_format=torch.channels_last)


def _to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels (height, width, 3) from 0 to 255 as (3, height, width) from -1 to 1."""
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / 127.5 - 1
