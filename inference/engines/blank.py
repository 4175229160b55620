"""The blank engine: noise instead of pictures, for measuring everything around the model."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from inference import png
from inference.engines.base import SEED_MAX, STEPS, TOKENS_SEEN_AT_MOST, OnStep

# Levels of noise around a color: few enough that 1024x1024 compresses to about 1.4 MB, the size of
# a picture of FLUX.1 Schnell.
NOISE_LEVELS = 5
# 64 pictures of 1.4 MB: 90 MB at most.
PICTURES_KEPT = 64


@lru_cache(maxsize=PICTURES_KEPT)
def noise_png(width: int, height: int, seed: int) -> bytes:
    """The PNG of noise for this size, in pixels, and seed: made once while the cache holds it."""
    generator = np.random.default_rng([seed, width, height])
    color = generator.integers(0, 256 - NOISE_LEVELS, size=3, dtype=np.uint8)
    noise = generator.integers(0, NOISE_LEVELS, size=(height, width, 3), dtype=np.uint8)
    return png.encode(color + noise)


@dataclass(frozen=True, slots=True)
class BlankDrawing:
    """Noise of one seed and size."""

    width: int
    height: int
    seed: int
    prompt_tokens: int
    prompt_tokens_seen: int
    prompt_tokens_unknown: int = 0

    def png(self) -> bytes:
        """The PNG, from the cache when this seed and size were drawn before."""
        return noise_png(self.width, self.height, self.seed)


class BlankEngine:
    """Answers with noise after `seconds`, without torch, weights or a GPU."""

    def __init__(self, seconds: float = 0.0) -> None:
        """Take `seconds` for each drawing. Raises ValueError when negative."""
        if seconds < 0:
            message = f"A drawing cannot take {seconds} seconds: give 0 or more."
            raise ValueError(message)
        self._seconds = seconds

    @property
    def fingerprint(self) -> str:
        """Names the libraries that the noise and its bytes depend on."""
        return f"blank; numpy={np.__version__}; {png.ENCODER}"

    def load(self) -> None:
        """Nothing to load."""

    def warm(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Make one picture of each size: the first use of the encoder costs extra."""
        for width, height in sizes:
            noise_png(width, height, 0)

    def draw(
        self, prompt: str, *, width: int, height: int, seed: int, on_step: OnStep | None = None
    ) -> BlankDrawing:
        """Wait, telling `on_step` four times, then hand out the noise of this seed and size.

        Tokens are words here. Raises ValueError for a seed outside 0 to 2^32-1.
        """
        if not 0 <= seed <= SEED_MAX:
            message = f"Seed {seed} is outside 0 to {SEED_MAX}."
            raise ValueError(message)
        started = time.monotonic()
        for step in range(1, STEPS + 1):
            # Measured from the start, so that a slow `on_step` does not lengthen the whole.
            time.sleep(max(0.0, started + self._seconds * step / STEPS - time.monotonic()))
            if on_step is not None:
                on_step(step, STEPS)
        words = len(prompt.split())
        return BlankDrawing(
            width=width,
            height=height,
            seed=seed,
            prompt_tokens=words,
            prompt_tokens_seen=min(words, TOKENS_SEEN_AT_MOST),
        )

    def free_memory(self) -> None:
        """Nothing is held on a device."""
