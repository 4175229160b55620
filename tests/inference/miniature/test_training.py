"""Training: the noise carries the layout, and what was stopped goes on as if it had not been."""

import time
from pathlib import Path

import pytest
import torch
from torch import nn

from inference.miniature import parts
from inference.miniature.illustrator.layout import NUMBERS
from inference.miniature.illustrator.pictures import Scene, Subject
from inference.miniature.tokenizers import T5_TOKENS
from inference.miniature.training import beginning, coupling, flow, reading
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


def stream_after_attention(layouts: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """What later parts of the first block find, of shape (pictures, rows, columns, width)."""
    pipeline = flow.untrained(parts.autoencoder())
    seen: list[torch.Tensor] = []
    block = pipeline.transformer.transformer_blocks[0]
    block.norm2.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    count = len(layouts)
    noise = coupling.noise_for(layouts, torch.randn(count, NUMBERS, height, width))
    text = torch.randn(count, parts.WIDTH), torch.randn(count, T5_TOKENS, parts.WIDTH)
    with torch.no_grad():
        flow.velocity(pipeline, noise, torch.ones(count), text)
    return seen[0].unflatten(1, (height // 2, width // 2))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 32)])
def test_every_token_begins_with_the_layout_before_it(height: int, width: int) -> None:
    layouts = torch.rand(16, NUMBERS)
    there = stream_after_attention(layouts, height, width)[:, 3, 4, beginning.LAYOUT]
    wanted = torch.special.ndtri(layouts.clamp(coupling.EDGE, 1 - coupling.EDGE))
    assert torch.corrcoef(torch.stack([there.flatten(), wanted.flatten()]))[0, 1] > 0.97


def test_every_token_begins_with_its_row_and_column() -> None:
    stream = stream_after_attention(torch.rand(2, NUMBERS), 24, 32)
    rows, columns = stream[..., beginning.ROW], stream[..., beginning.COLUMN]
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
