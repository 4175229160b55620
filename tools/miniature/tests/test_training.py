"""Training: the noise carries the layout, and what was stopped goes on as if it had not been."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

from inference.checkpoints import MINIATURE
from tools.miniature import parts
from tools.miniature.illustrator.layout import STEPS, Layout
from tools.miniature.illustrator.pictures import Scene, Shape, ShapePicture, Subject
from tools.miniature.training import autoencoder, curriculum, flow, latents, reading
from tools.miniature.training.curriculum import LEVELS
from tools.miniature.training.reading import FACTS, facts
from tools.miniature.training.steps.optimizer import Optimizer
from tools.miniature.training.steps.progress import resumable
from tools.miniature.training.structure import coupling

SHAPE = (500, 16, 8, 12)
LAYOUT = len(Layout.__dataclass_fields__)


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


@pytest.mark.parametrize("level", LEVELS)
def test_a_picture_that_is_half_drawn_still_tells_its_layout(level: float) -> None:
    torch.manual_seed(5)
    layouts, drawn = torch.rand(SHAPE[:2]), 5 * torch.randn(SHAPE)
    mixture = coupling.picture_for(layouts, drawn).lerp(
        coupling.noise_for(layouts, torch.randn(SHAPE)), level
    )
    told = coupling.layouts_in(mixture)[:, :LAYOUT]
    near_a_border = ((layouts[:, :LAYOUT] * STEPS + 0.5) % 1 - 0.5).abs() < 1e-3
    same = (told * STEPS).floor() == (layouts[:, :LAYOUT] * STEPS).floor()
    assert (same | near_a_border).all()


def test_a_picture_that_tells_its_layout_differs_by_the_pattern_alone() -> None:
    torch.manual_seed(6)
    before = torch.randn(SHAPE)
    after = coupling.picture_for(torch.rand(SHAPE[:2]), before)
    assert coupling.projections(after)[:, LAYOUT:].abs().max() < 1e-4
    assert torch.allclose(coupling.moved(after, coupling.projections(before)), before, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
def test_an_answer_that_leads_away_from_the_layout_is_a_great_error() -> None:
    pipeline = flow.untrained(parts.autoencoder())
    batch = curriculum.Batch(
        latents=torch.randn(2, 16, 16, 16),
        levels=torch.ones(2),
        pictures=[ShapePicture(Shape("star"))] * 2,
        prompts=["a star"] * 2,
        layouts=torch.rand(2, 16),
    )

    def loss() -> float:
        torch.manual_seed(8)
        with torch.no_grad():
            return flow.flow_losses(pipeline, batch)[0].item()

    before = loss()
    bias = pipeline.transformer.proj_out.bias
    with torch.no_grad():
        bias += 0.5 * torch.tensor([1.0, -1.0, -1.0, 1.0]).repeat(16)
    # Half the pattern in each of 64 tokens: a projection of 8, and but a quarter more of each error.
    assert loss() > before + 0.5 * flow.DRIFT * 8**2


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


def test_the_reading_lesson_asks_for_what_the_prompt_says() -> None:
    boat = Scene("sea", "night", sky=("moon",), subject=Subject("boat", "red", 2), style="neon")
    said = facts(boat)
    assert {name: said[name] for name in ("style", "setting", "time", "subject", "color")} == {
        "style": "neon",
        "setting": "sea",
        "time": "night",
        "subject": "boat",
        "color": "red",
    }
    assert (said["count"], said["moon"], said["sun"], said["shape"]) == (2, True, False, None)
    for number in range(5):
        answers = reading.lesson(number).answers
        assert answers.shape == (reading.BATCH, len(FACTS))


@pytest.mark.parametrize("stages", [curriculum.STAGES, curriculum.FURTHER])
def test_a_training_goes_through_its_stages_in_order(stages: tuple[curriculum.Stage, ...]) -> None:
    assert sum(stage.share for stage in stages) == pytest.approx(1)
    for stage in stages:
        assert sum(stage.levels) == pytest.approx(1)
        assert len(stage.levels) == len(LEVELS)
    assert sum(kept.share for kept in curriculum.SIZES.values()) == pytest.approx(1)
    assert curriculum.stage_at(stages, 0) is stages[0]
    assert curriculum.stage_at(stages, stages[0].share) is stages[1]
    assert curriculum.stage_at(stages, 1) is stages[-1]


def test_a_stage_gets_the_pictures_it_asks_for() -> None:
    kept = {
        size: torch.randn(60, 16, size[1] // 32, size[0] // 32) for size in [(512, 512), (768, 768)]
    }
    library = curriculum.Library(kept)
    rng = np.random.default_rng(1)
    counts = set()
    for stage in (
        curriculum.Stage(1, levels=(1, 0, 0, 0), shapes=1),
        curriculum.Stage(1, levels=(0, 0, 0.5, 0.5), shapes=0),
    ):
        for _ in range(12):
            batch = library.choose(stage, rng)
            counts.add((len(batch.latents), *batch.latents.shape[2:]))
            assert all(stage.levels[LEVELS.index(level)] for level in batch.levels.tolist())
            kinds = {isinstance(picture, ShapePicture) for picture in batch.pictures}
            assert kinds == {bool(stage.shapes)}
            assert len(batch.prompts) == len(batch.layouts) == len(batch.latents)
    assert counts == {(32, 16, 16), (14, 24, 24)}  # about as many tokens of either size


def test_half_of_a_pictures_weight_falls_on_what_stands_out_from_its_ground() -> None:
    clean = torch.full((2, 16, 16, 16), 0.3)
    clean[0, :, 4:8, 4:8] = 1.0  # four tokens of 64
    clean[1, 0] = torch.linspace(-1, 1, 16)[:, None]
    small, wide = flow.token_weights(clean)
    assert small.mean() == pytest.approx(1)
    assert wide.mean() == pytest.approx(1)
    thing = small[small > 1]
    assert len(thing) == 4
    assert thing.sum() > 0.5 * small.sum()
    assert small[small < 1].tolist() == pytest.approx([1 - flow.OUTSTANDING] * 60)
    assert wide.max() < 3


def test_an_autoencoder_that_goes_on_learns_and_keeps_near_its_latents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoencoder, "POOL", 4)
    pictures = autoencoder._pool.__wrapped__()
    monkeypatch.setattr(autoencoder, "_pool", lambda: pictures)
    monkeypatch.setattr(autoencoder, "PIXELS_A_STEP", 256 * 256)
    monkeypatch.setattr(autoencoder, "CROPS", (128,))
    start = AutoencoderKL.from_pretrained(MINIATURE / "vae", dtype=torch.float32)
    model = autoencoder.train(tmp_path, steps=3, start=start)
    assert model is not None
    pixels = torch.stack([autoencoder._to_tensor(picture) for picture in pictures[:2]])
    before, after = (autoencoder._encoded(each, pixels) for each in (start, model))
    assert 0 < (before - after).square().mean() < 0.01


def test_latents_that_a_process_could_not_compute_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broke off"):
        latents.keep(nn.Linear(1, 1), tmp_path, {(512, 512): latents.CHUNK})  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
