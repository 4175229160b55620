"""Teaches both text encoders to read, before anything is drawn: what a prompt says, fact by fact.

FLUX's own encoders come trained, too. A transformer that has to find out what words mean from the
pictures alone spends its first hours on that.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from diffusers import FluxPipeline
from torch import Tensor, nn

from tools.miniature import parts
from tools.miniature.illustrator.canvas import STYLES
from tools.miniature.illustrator.captions import caption
from tools.miniature.illustrator.outlines import SHAPES
from tools.miniature.illustrator.palette import COLORS
from tools.miniature.illustrator.pictures import (
    PLACES,
    RELATIONS,
    SETTINGS,
    SIZES,
    SKY_THINGS,
    TIMES,
    WEATHERS,
    Picture,
    Scene,
    ShapePicture,
)
from tools.miniature.illustrator.sampling import invent
from tools.miniature.illustrator.things import THINGS
from tools.miniature.training.steps import precision
from tools.miniature.training.steps.optimizer import Optimizer, inside_blocks
from tools.miniature.training.steps.progress import resumable

SEED = 6
BATCH = 128
RATE = 2e-3

_COLORS = (None, *COLORS)
_COUNTS = (None, 1, 2, 3, 4, 5)
FACTS: dict[str, tuple[Any, ...]] = {
    "style": STYLES,
    "shape": (None, *SHAPES),
    "color": _COLORS,
    "background": _COLORS,
    "count": _COUNTS,
    "place": (None, *PLACES),
    "size": (None, *SIZES),
    "relation": (None, *RELATIONS),
    "other": (None, *SHAPES, *THINGS),
    "other color": _COLORS,
    "setting": (None, *SETTINGS),
    "time": (None, *TIMES),
    "weather": (None, *WEATHERS),
    "subject": (None, *THINGS),
    **dict.fromkeys(SKY_THINGS, (False, True)),
    "reflections": (False, True),
}
"""What a prompt may say, and the answers; None where it says nothing."""


def facts(picture: Picture) -> dict[str, Any]:
    """The answer to each of `FACTS`."""
    said: dict[str, Any] = {name: choices[0] for name, choices in FACTS.items()}
    said["style"] = picture.style
    said.update(_of_shapes(picture) if isinstance(picture, ShapePicture) else _of_scene(picture))
    return said


def _of_shapes(picture: ShapePicture) -> dict[str, Any]:
    said: dict[str, Any] = {
        "shape": picture.shape.name,
        "color": picture.shape.color,
        "background": picture.background,
        "count": picture.count,
        "place": picture.place,
        "size": picture.size,
    }
    if picture.other is not None:
        said["relation"] = picture.relation
        said["other"], said["other color"] = picture.other.name, picture.other.color
    return said


def _of_scene(scene: Scene) -> dict[str, Any]:
    said: dict[str, Any] = dict.fromkeys(scene.sky, True)
    said.update(
        setting=scene.setting, time=scene.time, weather=scene.weather, reflections=scene.reflections
    )
    if scene.subject is not None:
        said["subject"], said["count"] = scene.subject.name, scene.subject.count
        said["color"] = scene.subject.color
    if scene.other is not None:
        said["other"], said["other color"] = scene.other.name, scene.other.color
    return said


@dataclass
class Lesson:
    """Prompts and the number of the right answer to each fact, of shape (prompts, facts)."""

    prompts: list[str]
    answers: Tensor


def lesson(number: int) -> Lesson:
    """The prompts of a step."""
    rng = np.random.default_rng((SEED, number))
    pictures = [invent(rng) for _ in range(BATCH)]
    said = [facts(picture) for picture in pictures]
    answers = [[FACTS[name].index(row[name]) for name in FACTS] for row in said]
    return Lesson([caption(picture, rng) for picture in pictures], torch.tensor(answers))


class Questions(nn.Module):
    """Asks an encoder's summary (prompts, width) for every fact."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Linear(parts.WIDTH, len(choices)) for choices in FACTS.values()
        )

    def forward(self, summary: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss, and the share of right answers."""
        asked = [head(summary) for head in self.heads]
        pairs = list(zip(asked, answers.unbind(1), strict=True))
        loss = sum((F.cross_entropy(logits, right) for logits, right in pairs), torch.zeros(()))
        right = torch.stack([(logits.argmax(1) == answer) for logits, answer in pairs])
        return loss / len(pairs), right.float().mean()


def teach(
    pipeline: FluxPipeline, folder: Path, *, steps: int, deadline: float | None = None
) -> bool:
    """Teach the encoders of `pipeline`; False when time ran out first."""
    from tools.miniature.training.flow import read_prompts  # noqa: PLC0415

    torch.manual_seed(SEED)
    modules = nn.ModuleDict(
        {
            "clip": pipeline.text_encoder,
            "t5": pipeline.text_encoder_2,
            "questions to clip": Questions(),
            "questions to t5": Questions(),
        }
    ).eval()
    named = dict(modules.named_parameters())
    optimizer = Optimizer(named, inside_blocks(named), rate=RATE, inside_rate=RATE)

    def step(number: int) -> float:
        batch = lesson(number)
        with precision.quickest():
            pooled, sequence = read_prompts(pipeline, batch.prompts)
        first, clip_right = modules["questions to clip"](pooled.float(), batch.answers)
        second, t5_right = modules["questions to t5"](sequence.float().mean(1), batch.answers)
        (first + second).backward()
        nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        optimizer.step(min(1.0, (number + 1) / 50, 3 * (steps - number) / steps))
        if number % 100 == 0:
            print(f"reading: CLIP {clip_right:.3f}, T5 {t5_right:.3f} of the facts right")
        return float((first + second).item())

    return resumable(
        "reading",
        folder / "reading.pt",
        steps=steps,
        step=step,
        kept={"modules": modules, "optimizer": optimizer},
        deadline=deadline,
    )
