"""Training: the noise carries the layout, and what was stopped goes on as if it had not been."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from torch import nn

from inference.miniature import parts
from inference.miniature.illustrator.layout import NUMBERS
from inference.miniature.illustrator.pictures import Scene, Shape, ShapePicture, Subject
from inference.miniature.tokenizers import T5_TOKENS
from inference.miniature.training import (
    beginning,
    coupling,
    curriculum,
    flow,
    placing,
    reading,
    rulers,
    stream,
)
from inference.miniature.training.optimizer import Optimizer
from inference.miniature.training.progress import resumable
from inference.miniature.training.reading import FACTS, facts

SHAPE = (500, 16, 8, 12)


def test_the_layout_can_be_read_from_the_noise_at_any_size() -> None:
    torch.manual_seed(1)
    layouts = torch.rand(SHAPE[:2])
    for size in ((16, 16), (24, 32)):
        noise = coupling.noise_for(layouts, torch.randn(*SHAPE[:2], *size))
        assert torch.allclose(coupling.layouts_in(noise), layouts.clamp(0.001, 0.999), atol=1e-4)


def test_uniform_layouts_leave_the_noise_standard_normal() -> None:
    torch.manual_seed(2)
    noise = coupling.noise_for(torch.rand(SHAPE[:2]), torch.randn(SHAPE))
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    quantiles = torch.sort(coupling.layouts_in(noise).flatten()).values
    assert (quantiles - torch.linspace(0, 1, len(quantiles))).abs().max() < 0.02


def test_nothing_but_the_layout_changes_in_the_noise() -> None:
    torch.manual_seed(3)
    before = torch.randn(SHAPE)
    layouts = coupling.layouts_in(before)
    again = coupling.noise_for(layouts, before)
    far_out = (layouts < coupling.EDGE) | (
        layouts > 1 - coupling.EDGE
    )  # pulled in: infinity is near
    assert torch.allclose(before[~far_out], again[~far_out], atol=1e-3)


def lesson(folder: Path, *, steps: int, deadline: float | None = None) -> tuple[bool, nn.Module]:
    """Teach a small model with both kinds of weights to be the identity."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(4, 8), nn.Conv1d(8, 8, 1), nn.Flatten(), nn.Linear(8, 4))
    optimizer = Optimizer(
        dict(model.named_parameters()), {"0.weight", "3.weight"}, rate=0.01, inside_rate=0.01
    )

    def step(number: int) -> float:
        torch.manual_seed(number)
        x = torch.randn(16, 4)
        loss = (model[3](model[0](x)) - x).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(1.0)
        return loss.item()

    finished = resumable(
        "lesson",
        folder / "lesson.pt",
        steps=steps,
        step=step,
        kept={"model": model, "optimizer": optimizer},
        deadline=deadline,
    )
    return finished, model


def test_what_was_stopped_after_each_step_ends_as_what_ran_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "whole").mkdir()
    finished, whole = lesson(tmp_path / "whole", steps=6)
    assert finished
    runs = 0
    while not (answer := lesson(tmp_path, steps=6, deadline=time.monotonic()))[0]:
        runs += 1
    assert runs == 5
    for ours, theirs in zip(answer[1].parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert "lesson: step 6 of 6, loss" in capsys.readouterr().out


def test_it_learns(tmp_path: Path) -> None:
    x = torch.eye(4)
    before, after = (lesson(tmp_path, steps=steps)[1] for steps in (1, 400))
    assert loss_of(after, x) < 0.1 * loss_of(before, x)


@torch.no_grad()
def loss_of(model: nn.Module, x: torch.Tensor) -> float:
    return (model[3](model[0](x)) - x).square().mean().item()  # type: ignore[index]


def tokens_before(
    module: str,
    layouts: torch.Tensor,
    height: int,
    width: int,
    pipeline: FluxPipeline | None = None,
) -> torch.Tensor:
    """What a module of an untaught transformer is given: (pictures, rows, columns, width)."""
    pipeline = pipeline or flow.untrained(parts.autoencoder())
    seen: list[torch.Tensor] = []
    pipeline.transformer.get_submodule(module).register_forward_hook(
        lambda _, given, __: seen.append(given[0])
    )
    count = len(layouts)
    noise = coupling.noise_for(layouts, torch.randn(count, NUMBERS, height, width))
    text = torch.randn(count, parts.WIDTH), torch.randn(count, T5_TOKENS, parts.WIDTH)
    with torch.no_grad():
        flow.velocity(pipeline, noise, torch.ones(count), text)
    image_tokens = seen[0][:, -(height // 2) * (width // 2) :]  # text stands before them
    return image_tokens.unflatten(1, (height // 2, width // 2))


def stream_after_attention(layouts: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """What later parts of the first block find."""
    return tokens_before("transformer_blocks.0.norm2", layouts, height, width)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 32)])
def test_every_token_begins_with_the_layout_before_it(height: int, width: int) -> None:
    layouts = torch.rand(16, NUMBERS)
    there = stream_after_attention(layouts, height, width)[:, 3, 4, stream.LAYOUT]
    used = layouts[:, : there.shape[1]]
    wanted = torch.special.ndtri(used.clamp(coupling.EDGE, 1 - coupling.EDGE))
    assert torch.corrcoef(torch.stack([there.flatten(), wanted.flatten()]))[0, 1] > 0.97


def test_every_token_begins_with_its_row_and_column() -> None:
    tokens = stream_after_attention(torch.rand(2, NUMBERS), 24, 32)
    rows, columns = tokens[..., stream.ROW_SHARE], tokens[..., stream.COLUMN_SHARE]
    assert torch.allclose(rows, rows[:1, :, :1].expand_as(rows), atol=1e-3)
    assert torch.allclose(columns, columns[:1, :1].expand_as(columns), atol=1e-3)
    assert rows[0, :, 0].diff().min() > 0.05
    assert columns[0, 0].diff().min() > 0.05


def test_the_first_answer_is_the_noise() -> None:
    pipeline = flow.untrained(parts.autoencoder())
    noise = torch.randn(4, NUMBERS, 16, 16)
    text = torch.randn(4, parts.WIDTH), torch.randn(4, T5_TOKENS, parts.WIDTH)
    with torch.no_grad():
        answer = flow.unpack(flow.velocity(pipeline, noise, torch.ones(4), text), 16, 16)
    assert (answer - noise).square().mean() < 0.03


def test_the_reading_lesson_asks_for_what_the_prompt_says() -> None:
    boat = Scene("sea", "night", sky=("moon",), subject=Subject("boat", "red", 2), style="neon")
    said = facts(boat)
    assert {name: said[name] for name in ("style", "setting", "time", "subject", "colour")} == {
        "style": "neon",
        "setting": "sea",
        "time": "night",
        "subject": "boat",
        "colour": "red",
    }
    assert (said["count"], said["moon"], said["sun"], said["shape"]) == (2, True, False, None)
    for number in range(5):
        answers = reading.lesson(number).answers
        assert answers.shape == (reading.BATCH, len(FACTS))


def layouts_with(across: float, down: float) -> torch.Tensor:
    layouts = torch.full((1, NUMBERS), 0.5)
    layouts[0, 0], layouts[0, 1] = across, down
    return layouts


def marks(pipeline: FluxPipeline, layouts: torch.Tensor, which: range) -> torch.Tensor:
    """The marks that both first blocks leave to the others at 512x512: (rows, columns, marks)."""
    tokens = tokens_before("single_transformer_blocks.0.norm", layouts, 16, 16, pipeline)
    return tokens[0, ..., which.start : which.stop]


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 24), (24, 32), (32, 32)])
def test_every_token_knows_its_row_and_column_after_the_first_block(
    height: int, width: int
) -> None:
    tokens = tokens_before("transformer_blocks.1.norm1.norm", layouts_with(0.5, 0.5), height, width)
    for dimension, axis in ((stream.ROW, 1), (stream.COLUMN, 0)):
        places = tokens[0, ..., dimension].mean(axis) * stream.MEASURE + stream.MIDDLE
        assert (places - torch.arange(len(places))).abs().max() < 0.3


def test_every_token_begins_with_the_mark_it_is_at() -> None:
    rows = marks(flow.untrained(parts.autoencoder()), layouts_with(0.5, 0.5), stream.ROW_MARKS)
    assert (rows.mean(1) - torch.eye(stream.MARKS)).abs().max() < 0.3


@pytest.mark.parametrize(("down", "step"), [(0.1, -1), (0.5, 0), (0.9, 1)])
def test_the_layout_moves_the_near_marks_by_a_token(down: float, step: int) -> None:
    pipeline = flow.untrained(parts.autoencoder())
    nearest = marks(pipeline, layouts_with(0.5, down), stream.NEAR_ROW_MARKS).mean(1).argmax(1)
    assert nearest.tolist() == [row + 1 - step for row in range(8)]


def test_words_move_the_near_marks_once_the_lesson_is_learned() -> None:
    pipeline = flow.untrained(parts.autoencoder())
    picture = ShapePicture(Shape("star"), place="top")
    level, pooled = torch.ones(1), torch.zeros(1, parts.WIDTH)
    assert placing.loss(pipeline.transformer, level, pooled, [picture]) > 0.5
    bias = pipeline.transformer.transformer_blocks[1].norm1.linear.bias
    optimizer = torch.optim.Adam([bias], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        placing.loss(pipeline.transformer, level, pooled, [picture]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    nearest = marks(pipeline, layouts_with(0.5, 0.9), stream.NEAR_ROW_MARKS).mean(1).argmax(1)
    # The middle of the marks, between the fifth and the sixth, came from row 4 to row 2; the layout rests.
    assert nearest[:7].tolist() == [3, 4, 5, 6, 7, 8, 9]


def test_what_was_built_stays_as_it_is_and_all_else_learns() -> None:
    pipeline = flow.untrained(parts.autoencoder())
    transformer = pipeline.transformer
    beginning.hold(transformer)
    gates = [block.norm1.linear.bias for block in transformer.transformer_blocks]
    with torch.no_grad():  # nothing is learned through a closed gate
        for gate in gates:
            gate[gate == 0] = 0.1
    noise = torch.randn(2, NUMBERS, 16, 16)
    text = torch.randn(2, parts.WIDTH), torch.randn(2, T5_TOKENS, parts.WIDTH)
    answer = flow.velocity(pipeline, noise, torch.ones(2), text)
    answer.square().mean().backward()  # type: ignore[no-untyped-call]
    assert transformer.transformer_blocks[0].attn.to_q.weight.grad is None
    second = transformer.transformer_blocks[1]
    for gradient, built in (
        (second.ff.net[0].proj.weight.grad, slice(rulers.UNITS[1])),
        (second.ff.net[2].weight.grad.T, slice(rulers.UNITS[1])),
        (second.attn.to_v.weight.grad, slice(second.attn.head_dim)),
        (second.attn.to_out[0].weight.grad, slice(stream.MEAN_ROW, stream.MEAN_COLUMN + 1)),
    ):
        assert gradient.any()
        assert not gradient[built].any()


def test_a_training_goes_through_its_stages_in_order() -> None:
    assert sum(stage.share for stage in curriculum.STAGES) == pytest.approx(1)
    assert all(sum(stage.levels) == pytest.approx(1) for stage in curriculum.STAGES)
    assert curriculum.stage_at(0) is curriculum.STAGES[0]
    assert curriculum.stage_at(curriculum.STAGES[0].share) is curriculum.STAGES[1]
    assert curriculum.stage_at(1) is curriculum.STAGES[-1]


def test_a_stage_gets_the_pictures_it_asks_for() -> None:
    kept = {
        size: torch.randn(60, 16, size[1] // 32, size[0] // 32) for size in [(512, 512), (768, 768)]
    }
    library = curriculum.Library(kept)
    rng = np.random.default_rng(1)
    shapes = curriculum.Stage(1, levels=(1, 0, 0, 0), shapes=1, usual_size=1)
    first = library.choose(shapes, rng)
    assert first.latents.shape == (64, 16, 16, 16)
    assert set(first.levels.tolist()) == {1.0}
    assert all(isinstance(picture, ShapePicture) for picture in first.pictures)
    scenes = curriculum.Stage(1, levels=(0, 0, 0.5, 0.5), shapes=0, usual_size=0)
    second = library.choose(scenes, rng)
    assert second.latents.shape == (28, 16, 24, 24)
    assert set(second.levels.tolist()) == {0.5, 0.25}
    assert not any(isinstance(picture, ShapePicture) for picture in second.pictures)
    assert len(second.prompts) == len(second.layouts) == 28
