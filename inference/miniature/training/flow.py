"""Trains the transformer and both text encoders together, by rectified flow over kept latents.

The miniature always draws in four steps, so it learns at their four noise levels and no other.
"""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxPipeline
from torch import Tensor, nn

from inference.engines.base import STEPS
from inference.miniature import parts
from inference.miniature.illustrator.captions import caption
from inference.miniature.illustrator.pictures import Picture
from inference.miniature.tokenizers import T5_TOKENS, clip_tokenizer, t5_tokenizer
from inference.miniature.training import autoencoder, beginning, coupling, latents, placing
from inference.miniature.training.optimizer import Optimizer, inside_blocks
from inference.miniature.training.progress import resumable

SEED = 3
TOKENS_A_STEP = 64 * 64
"""Image tokens: 64 pictures of 512x512, or 16 of 1024x1024."""
SIZES: dict[latents.Size, float] = {
    (512, 512): 0.6,
    (768, 768): 0.13,
    (1024, 768): 0.09,
    (768, 1024): 0.09,
    (1024, 1024): 0.09,
}
"""The share of the steps that each size gets."""
LEVELS = tuple(1 - number / STEPS for number in range(STEPS))
EARLY_LEVEL_SHARES, LEVEL_SHARES = (0.7, 0.1, 0.1, 0.1), (0.6, 0.2, 0.12, 0.08)
"""At first most at the highest, where it is decided what stands where."""
EARLY = 0.1
"""The share of the steps that takes the early ones."""
OWN_SHARE = 0.25
"""Of the pictures, once `OWN_FROM` of the training is done: these start from what the model made of
the levels above, as they will when it draws."""
OWN_FROM = 1.0
EARLY_COLOUR_IMPORTANCE, COLOUR_IMPORTANCE = 5.0, 2.0
"""Of an error in the three latents of colour, beside one in the thirteen of edges: edges follow from
where things are, which is learned from colours."""
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
    steps: int,
    pictures: dict[latents.Size, int],
    deadline: float | None = None,
) -> None:
    """Teach `pipeline`, and leave the averaged weights in it, finished or as far as it came."""
    modules = nn.ModuleDict(
        {
            "transformer": pipeline.transformer,
            "clip": pipeline.text_encoder,
            "t5": pipeline.text_encoder_2,
        }
    ).eval()  # no dropout
    averaged = deepcopy(modules)
    quicken(pipeline)
    beginning.hold(pipeline.transformer)
    named = {name: value for name, value in modules.named_parameters() if value.requires_grad}
    optimizer = Optimizer(named, inside_blocks(named), rate=LEARNING_RATE, inside_rate=INSIDE_RATE)
    known = {size: latents.read(folder, size, count) for size, count in pictures.items()}

    def step(number: int) -> float:
        rng = np.random.default_rng((SEED, number))
        torch.manual_seed(SEED * 1_000_003 + number)
        early = number < EARLY * steps
        loss = flow_loss(
            pipeline,
            choose(known, rng),
            level_shares=EARLY_LEVEL_SHARES if early else LEVEL_SHARES,
            own=OWN_SHARE if number > OWN_FROM * steps else 0.0,
            colour_importance=EARLY_COLOUR_IMPORTANCE if early else COLOUR_IMPORTANCE,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        optimizer.step(learning_share(number, steps))
        keep = min(AVERAGED, (number + 1) / (number + 10))
        with torch.no_grad():
            for mean, value in zip(averaged.parameters(), modules.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)
        return float(loss.item())

    resumable(
        "flow",
        folder / "flow.pt",
        steps=steps,
        step=step,
        kept={"modules": modules, "averaged": averaged, "optimizer": optimizer},
        deadline=deadline,
    )
    modules.load_state_dict(averaged.state_dict())


def quicken(pipeline: FluxPipeline) -> None:
    """Two thirds more steps a minute on two cores: 0.86 s became 0.55 s."""
    # The fused attention of torch's CPU build is slow on the way back.
    pipeline.transformer.set_attention_backend("_native_math")
    pipeline.text_encoder.set_attn_implementation("eager")
    # A graph for each size of picture, with and without gradients: fixed shapes are the fastest.
    torch._dynamo.config.automatic_dynamic_shapes = False  # noqa: SLF001 - the documented way
    torch._dynamo.config.recompile_limit = 64  # noqa: SLF001
    pipeline.transformer.compile_repeated_blocks(fullgraph=True)


def learning_share(number: int, steps: int) -> float:
    """Of the full learning rate: up, level, then down in a straight line."""
    up = (number + 1) / WARM_UP
    down = (steps - number) / (COOL_DOWN * steps)
    return max(0.0, min(1.0, up, down))


@dataclass
class Batch:
    """Pictures of one size with their prompts and the noise that stands for their layout."""

    latents: Tensor
    pictures: list[Picture]
    prompts: list[str]
    layouts: Tensor


def choose(known: dict[latents.Size, Tensor], rng: np.random.Generator) -> Batch:
    """Pictures of one size, drawn by lot, and a prompt for each."""
    sizes = list(known)
    shares = np.array([SIZES[size] for size in sizes])
    size = sizes[rng.choice(len(sizes), p=shares / shares.sum())]
    pool = known[size]
    count = max(1, TOKENS_A_STEP // (pool.shape[2] * pool.shape[3] // 4))
    numbers = rng.integers(len(pool), size=count)
    chosen = [latents.picture(size, int(number)) for number in numbers]
    return Batch(
        latents=pool[torch.from_numpy(numbers)].float(),
        pictures=[picture for picture, _ in chosen],
        prompts=[caption(picture, rng) for picture, _ in chosen],
        layouts=torch.from_numpy(np.stack([numbers for _, numbers in chosen])).float(),
    )


def flow_loss(
    pipeline: FluxPipeline,
    batch: Batch,
    *,
    level_shares: tuple[float, ...],
    own: float,
    colour_importance: float,
) -> Tensor:
    """Mean square error of the velocity; `own` is the share that starts from the model's own work."""
    clean = batch.latents
    count = len(clean)
    noise = coupling.noise_for(batch.layouts, torch.randn_like(clean))
    with torch.autocast("cpu", torch.bfloat16):
        text = read_prompts(pipeline, batch.prompts)
    kind = torch.multinomial(torch.tensor(level_shares), count, replacement=True)
    level = torch.tensor(LEVELS)[kind]
    x = clean.lerp(noise, level[:, None, None, None])
    weight = torch.ones(count)
    if own:
        first = slice(0, round(own * count))
        x[first] = roll(pipeline, noise[first], (text[0][first], text[1][first]), kind[first])
        # A step that makes good for earlier ones may be long: its error would outweigh all others.
        weight[first] = level[first]
    # Straight to the picture from wherever it is: for a point between both, noise - picture.
    wanted = (x - clean) / level[:, None, None, None]
    with torch.autocast("cpu", torch.bfloat16):
        answer = velocity(pipeline, x, level, text)
    errors = unpack(answer.float() - pack(wanted), *x.shape[-2:]).square().mean((2, 3))
    importance = torch.ones(errors.shape[1])
    importance[: autoencoder.COLOURS] = colour_importance
    loss = (errors @ (importance / importance.sum()) * weight).mean()
    with torch.autocast("cpu", torch.bfloat16):
        return loss + placing.loss(pipeline.transformer, level, text[0], batch.pictures)


@torch.no_grad()
def roll(
    pipeline: FluxPipeline, noise: Tensor, text: tuple[Tensor, Tensor], kind: Tensor
) -> Tensor:
    """Where the model itself stands at the level of each picture, having drawn from `noise`."""
    x, reached = noise, noise.clone()
    height, width = noise.shape[-2:]
    for number in range(1, STEPS):
        before = torch.full((len(x),), LEVELS[number - 1])
        with torch.autocast("cpu", torch.bfloat16):
            answer = velocity(pipeline, x, before, text)
        x = x - unpack(answer.float(), height, width) / STEPS
        reached[kind == number] = x[kind == number]
    return reached


def read_prompts(pipeline: FluxPipeline, prompts: list[str]) -> tuple[Tensor, Tensor]:
    """What CLIP (pictures, width) and T5 (pictures, tokens, width) make of `prompts`."""
    clip = pipeline.tokenizer(
        prompts, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    t5 = pipeline.tokenizer_2(
        prompts, padding="max_length", max_length=T5_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids
    return pipeline.text_encoder(clip).pooler_output, pipeline.text_encoder_2(t5)[0]


def velocity(
    pipeline: FluxPipeline, x: Tensor, level: Tensor, text: tuple[Tensor, Tensor]
) -> Tensor:
    """The transformer's answer in tokens, asked as `FluxPipeline` asks it."""
    pooled, sequence = text
    height, width = x.shape[-2:]
    answer: Tensor = pipeline.transformer(
        hidden_states=pack(x),
        timestep=level,
        pooled_projections=pooled,
        encoder_hidden_states=sequence,
        txt_ids=torch.zeros(sequence.shape[1], 3),
        img_ids=FluxPipeline._prepare_latent_image_ids(  # noqa: SLF001 - to ask just as it asks
            len(x), height // 2, width // 2, "cpu", torch.float32
        ),
        return_dict=False,
    )[0]
    return answer


def pack(x: Tensor) -> Tensor:
    """Latents (pictures, 16, height, width) as FLUX's tokens (pictures, height * width / 4, 64)."""
    tokens: Tensor = FluxPipeline._pack_latents(x, *x.shape)  # noqa: SLF001
    return tokens


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The opposite of `pack`."""
    scale = 2 ** (len(parts.VAE_CHANNELS) - 1)
    latents: Tensor = FluxPipeline._unpack_latents(  # noqa: SLF001
        tokens, height * scale, width * scale, scale
    )
    return latents
