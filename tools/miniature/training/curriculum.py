"""What the transformer learns when: the hard thing first, alone, until it is there.

The hard thing is the first of the four steps, where nothing is there but noise, words and layout. Taught
everything at once, the model learns what is frequent (grounds, skies, hours) and for hours draws a
shape as a smear, since each shape in each color is rare; taught nothing but shapes at that step, it
draws them within minutes, and the rest is built on what it found for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from tools.miniature.illustrator.captions import caption
from tools.miniature.illustrator.pictures import Picture, ShapePicture
from tools.miniature.training import latents

TOKENS_A_STEP = 32 * 64
"""Image tokens: 32 pictures of 512x512, or 8 of 1024x1024."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How many pictures of a size are kept, and the share of the steps that are with them."""

    pictures: int
    share: float


SIZES: dict[latents.Size, Kept] = {
    (512, 512): Kept(6_144, 0.34),
    (768, 768): Kept(1_024, 0.14),
    (1024, 768): Kept(1_024, 0.16),
    (768, 1024): Kept(1_024, 0.16),
    (1024, 1024): Kept(1_024, 0.2),
}
"""All but the first show the same things in the same tokens. A step has the fewest large pictures."""
LEVELS = (1.0, 0.75, 0.5, 0.25)
"""The noise of the four steps: it always draws in four, so it learns at these and no other."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the training; all shares are from 0 to 1."""

    share: float
    """Of all steps."""
    levels: tuple[float, ...]
    """The shares of the pictures that start from each of `LEVELS`."""
    shapes: float
    """The share of the pictures that are of shapes, not of a scene."""


STAGES = (
    Stage(0.19, levels=(1, 0, 0, 0), shapes=1),
    Stage(0.33, levels=(0.94, 0.06, 0, 0), shapes=0.4),
    Stage(0.48, levels=(0.8, 0.1, 0.06, 0.04), shapes=0.43),
)
"""From nothing."""
FURTHER = (
    Stage(0.5, levels=(0.92, 0.08, 0, 0), shapes=0.3),
    Stage(0.5, levels=(0.8, 0.1, 0.06, 0.04), shapes=0.43),
)
"""From a checkpoint that draws shapes."""


def stage_at(stages: Sequence[Stage], progress: float) -> Stage:
    """The stage that the training is in when `progress` (0 to 1) of it is done."""
    ends = accumulate(stage.share for stage in stages)
    return next(
        (stage for stage, end in zip(stages, ends, strict=True) if progress < end), stages[-1]
    )


class Library:
    """The kept latents of all sizes, with the numbers of the pictures of shapes and of scenes."""

    def __init__(self, kept: dict[latents.Size, Tensor]) -> None:
        self._kept = kept
        self._numbers: dict[latents.Size, tuple[list[int], list[int]]] = {}
        for size, pool in kept.items():
            numbers = range(len(pool))
            shapes = [
                number
                for number in numbers
                if isinstance(latents.picture(size, number)[0], ShapePicture)
            ]
            self._numbers[size] = shapes, sorted({*numbers} - {*shapes})

    def choose(self, stage: Stage, rng: np.random.Generator) -> "Batch":
        """Pictures of one size, drawn by lot as `stage` asks, with a prompt for each."""
        sizes = list(self._kept)
        shares = np.array([SIZES[size].share for size in sizes])
        size = sizes[rng.choice(len(sizes), p=shares / shares.sum())]
        pool = self._kept[size]
        count = max(1, TOKENS_A_STEP // (pool.shape[2] * pool.shape[3] // 4))
        shapes, scenes = self._numbers[size]
        kinds = [shapes if rng.random() < stage.shapes else scenes for _ in range(count)]
        numbers = [kind[rng.integers(len(kind))] for kind in kinds]
        chosen = [latents.picture(size, number) for number in numbers]
        return Batch(
            latents=pool[numbers].float(),
            levels=torch.tensor(rng.choice(LEVELS, size=count, p=stage.levels)).float(),
            pictures=[picture for picture, _ in chosen],
            prompts=[caption(picture, rng) for picture, _ in chosen],
            layouts=torch.from_numpy(np.stack([layout for _, layout in chosen])).float(),
        )


@dataclass
class Batch:
    """Pictures of one size, each with its words, its layout's numbers and how noisy it starts."""

    latents: Tensor
    levels: Tensor
    pictures: list[Picture]
    prompts: list[str]
    layouts: Tensor
