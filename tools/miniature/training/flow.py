"""Trains the transformer by rectified flow over kept latents. The text encoders can read already."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxPipeline
from torch import Tensor, nn

from tools.miniature import parts
from tools.miniature.tokenizers import T5_TOKENS, clip_tokenizer, t5_tokenizer
from tools.miniature.training import autoencoder, latents
from tools.miniature.training.curriculum import SIZES, Batch, Library, Stage, stage_at
from tools.miniature.training.steps import precision
from tools.miniature.training.steps.optimizer import Optimizer, inside_blocks
from tools.miniature.training.steps.progress import resumable
from tools.miniature.training.structure import ballast, beginning, coupling, placing
from tools.miniature.training.structure.asking import pack, unpack, velocity

SEED = 3
COLOR_IMPORTANCE = 2.0
"""Of an error in the three latents of color, beside one in the thirteen of edges."""
OUTSTANDING = 0.5
"""The share of each picture's weight that falls on what stands out from its ground. Spread evenly, four
small stars have a sixteenth of it, and are learned last."""
DRIFT = 0.25
"""How much it counts that an answer leads away from the layout, which the later steps read again."""
LEARNING_RATE, INSIDE_RATE = 2e-3, 4e-3
WARM_UP = 100
COOL_DOWN = 0.3
"""The last share of the steps, in which the learning rate falls to nothing."""
AVERAGED = 0.998


def untrained(vae: AutoencoderKL) -> FluxPipeline:
    """The parts that know nothing yet around a trained autoencoder, in float32."""
    torch.manual_seed(SEED)
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    pipeline = FluxPipeline(
        scheduler=parts.scheduler(),
        vae=vae,
        text_encoder=parts.clip_encoder(clip),
        tokenizer=clip,
        text_encoder_2=parts.t5_encoder(t5),
        tokenizer_2=t5,
        transformer=parts.flux_transformer(),
    )
    beginning.begin(pipeline.transformer)
    return pipeline


def train(
    pipeline: FluxPipeline,
    folder: Path,
    *,
    stages: Sequence[Stage],
    steps: int,
    deadline: float | None = None,
) -> None:
    """Teach the transformer, and leave its averaged weights in it, finished or as far as it came."""
    transformer = pipeline.transformer.eval()  # no dropout
    averaged = deepcopy(transformer)
    quicken(pipeline)
    beginning.hold(transformer)
    named = {name: value for name, value in transformer.named_parameters() if value.requires_grad}
    optimizer = Optimizer(named, inside_blocks(named), rate=LEARNING_RATE, inside_rate=INSIDE_RATE)
    library = Library(
        {size: latents.read(folder, size, kept.pictures) for size, kept in SIZES.items()}
    )
    means, values = list(averaged.parameters()), list(transformer.parameters())

    def losses(number: int) -> tuple[Tensor, list[Tensor]]:
        torch.manual_seed(SEED * 1_000_003 + number)
        rng = np.random.default_rng((SEED, number))
        return flow_losses(pipeline, library.choose(stage_at(stages, number / steps), rng))

    with torch.no_grad():
        keeps_its_scale = not ballast.outgrown(losses(0)[1])

    def step(number: int) -> float:
        loss, off = losses(number)
        if keeps_its_scale:
            loss = loss + ballast.loss(off)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(transformer.parameters(), 1.0)
        optimizer.step(learning_share(number, steps))
        with torch.no_grad():
            torch._foreach_lerp_(means, values, 1 - min(AVERAGED, (number + 1) / (number + 10)))
        return float(loss.item())

    resumable(
        "flow",
        folder / "flow.pt",
        steps=steps,
        step=step,
        kept={"transformer": transformer, "averaged": averaged, "optimizer": optimizer},
        deadline=deadline,
    )
    transformer.load_state_dict(averaged.state_dict())


def quicken(pipeline: FluxPipeline) -> None:
    """Choose the attention that is the quickest to learn with on two cores.

    Compiled blocks would bring a fifth more steps, but with torch 2.13 on a processor with AMX their
    gradients were wrong: no numbers at 768x768, and elsewhere the loss rose.
    """
    # The fused attention of torch's CPU build is slow on the way back.
    pipeline.transformer.set_attention_backend("_native_math")
    pipeline.text_encoder.set_attn_implementation("eager")


def learning_share(number: int, steps: int) -> float:
    """The share of the full learning rate: up, level, then down in a straight line."""
    up = (number + 1) / WARM_UP
    down = (steps - number) / (COOL_DOWN * steps)
    return max(0.0, min(1.0, up, down))


def flow_losses(pipeline: FluxPipeline, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    """Mean square errors of the velocity, of what it does to the layout, of where the words put things.

    And what `ballast` weighed.
    """
    clean, level = coupling.picture_for(batch.layouts, batch.latents), batch.levels
    noise = coupling.noise_for(batch.layouts, torch.randn_like(clean))
    with precision.quickest():
        with torch.no_grad():
            text = read_prompts(pipeline, batch.prompts)
        with ballast.weighed(pipeline.transformer) as off:
            answer = velocity(
                pipeline.transformer, clean.lerp(noise, level[:, None, None, None]), level, text
            )
        misplaced = placing.loss(pipeline.transformer, level, text[0], batch.pictures)
    wrong, size = answer.float() - pack(noise - clean), clean.shape[-2:]
    errors = unpack(wrong.square() * token_weights(clean), *size).mean((0, 2, 3))
    importance = torch.ones(len(errors))
    importance[: autoencoder.COLORS] = COLOR_IMPORTANCE
    drifts = coupling.projections(unpack(wrong, *size)).square().mean()
    return errors @ (importance / importance.sum()) + misplaced + DRIFT * drifts, off


def token_weights(clean: Tensor) -> Tensor:
    """How much each token of `clean` weighs: (pictures, tokens, 1), on average 1 in each picture.

    Words and layout give a picture whole, so no weight moves what is best answered: only how soon it
    is found.
    """
    tokens = pack(clean)
    distances = (tokens - tokens.median(1, keepdim=True).values).norm(dim=2, keepdim=True)
    outstanding = distances / distances.mean(1, keepdim=True).clamp_min(1e-6)
    weights: Tensor = 1 + OUTSTANDING * (outstanding - 1)
    return weights


def read_prompts(pipeline: FluxPipeline, prompts: list[str]) -> tuple[Tensor, Tensor]:
    """What CLIP (pictures, width) and T5 (pictures, tokens, width) make of `prompts`."""
    clip = pipeline.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt")
    # CLIP pools at the end token, which sees nothing behind it: the longest prompt is long enough.
    longest = int(clip.attention_mask.sum(1).max())
    t5 = pipeline.tokenizer_2(
        prompts, padding="max_length", max_length=T5_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids
    pooled = pipeline.text_encoder(clip.input_ids[:, :longest]).pooler_output
    return pooled, pipeline.text_encoder_2(t5)[0]
