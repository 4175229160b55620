"""What is offered: the models and their sizes. CONTRIBUTING.md says what else a new one needs."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Model:
    """One model of the API; `engine` names its builder in inference/loading.py."""

    id: str
    title: str
    created: int
    steps: int
    engine: str

    @property
    def queue(self) -> str:
        """The Celery queue through which its workers are notified."""
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
    engine="flux",
)
MODELS: dict[str, Model] = {model.id: model for model in (FLUX_SCHNELL,)}
# The model that pages show first, and that forms and examples use.
DEFAULT_MODEL = FLUX_SCHNELL.id
PROMPT_LIMIT = 1_000  # code points
SEED_LIMIT = 2**32 - 1
