"""What is offered: the models and their sizes. To add one, add it here and give it a price."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Model:
    """One model of the API; `queue` is where its doorbell rings."""

    id: str
    title: str
    created: int
    steps: int

    @property
    def queue(self) -> str:
        return f"gpu.{self.id}"


SIZES: dict[str, tuple[int, int]] = {
    "512x512": (512, 512),
    "768x768": (768, 768),
    "1024x1024": (1024, 1024),
    "1024x768": (1024, 768),
    "768x1024": (768, 1024),
}
DEFAULT_SIZE = "1024x1024"
FLUX_SCHNELL = Model(
    id="flux-1-schnell",
    title="FLUX.1 Schnell",
    created=int(datetime(2024, 8, 1, tzinfo=UTC).timestamp()),
    steps=4,
)
MODELS: dict[str, Model] = {FLUX_SCHNELL.id: FLUX_SCHNELL}
# What pages begin with.
DEFAULT_MODEL = FLUX_SCHNELL.id
PROMPT_LIMIT = 1_000  # code points
SEED_LIMIT = 2**32 - 1
