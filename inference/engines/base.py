"""What a worker may ask of an engine, and what an engine may refuse: nothing here draws."""

from collections.abc import Callable, Sequence
from typing import Protocol

STEPS = 4
"""Denoising steps of one picture: FLUX.1 Schnell is distilled to four."""

TOKENS_SEEN_AT_MOST = 256
"""Tokens of a prompt that FLUX.1 Schnell was trained to see, its end token included."""

SEED_MAX = 2**32 - 1
"""Seeds are whole numbers from 0 to this one."""

OnStep = Callable[[int, int], None]
"""Told after each step: the step just finished, counted from 1, and the steps in all."""


class EngineUnavailable(Exception):
    """The engine cannot be loaded; the message says what to do about it, and holds no prompt."""


class OutOfMemory(Exception):
    """The device had no room for this picture: call `free_memory`, then try it once more, alone."""


class UnusableImage(Exception):
    """What came out of the model is no image to charge for; the message says why, and holds no prompt."""


class Drawing(Protocol):
    """One finished picture, not yet a PNG."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens that the prompt had, its end token included."""

    @property
    def prompt_tokens_seen(self) -> int:
        """Tokens that the model saw: at most `TOKENS_SEEN_AT_MOST`."""

    @property
    def prompt_tokens_unknown(self) -> int:
        """Tokens seen that stand for text outside the vocabulary: 0 unless that is most of the text."""

    def png(self) -> bytes:
        """The picture as PNG bytes.

        Touches neither the engine nor its device, so that a finishing thread may call it while the
        engine draws the next picture.
        """


class Engine(Protocol):
    """Draws pictures, one at a time, from one thread."""

    @property
    def fingerprint(self) -> str:
        """What drew the picture: checkpoint, digest of its weights, versions, precision, device.

        Printable ASCII, fit for an HTTP header, at most 160 characters. Equal fingerprints promise
        equal bytes for an equal prompt, size and seed. Known only after `load`.
        """

    def load(self) -> None:
        """Bring the weights to the device. Raises `EngineUnavailable`."""

    def warm(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Draw once at each (width, height), so that no caller pays for a first time.

        Raises `OutOfMemory` and `UnusableImage`, which name the size.
        """

    def draw(
        self, prompt: str, *, width: int, height: int, seed: int, on_step: OnStep | None = None
    ) -> Drawing:
        """Draw `prompt` at `width` x `height` pixels from `seed` (0 to 2^32-1).

        The same prompt, size and seed give the same bytes. What `on_step` raises ends the drawing
        and reaches the caller. Raises `OutOfMemory` and `UnusableImage`.
        """

    def free_memory(self) -> None:
        """Give back what the device holds beyond the weights. For use after `OutOfMemory`."""
