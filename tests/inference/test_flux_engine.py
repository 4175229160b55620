"""The FLUX engine on the miniature: the same bytes for the same seed, and no prompt in any log."""

from __future__ import annotations

import logging
import os
import shutil
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from images.catalog import SIZES
from inference.engines import checkpoint
from inference.engines.base import SEED_MAX, EngineUnavailable, OutOfMemory

if TYPE_CHECKING:
    from inference.engines.flux import FluxDrawing, FluxEngine

PROMPT = "a watercolor painting of a fox in a misty forest, soft light"


def draw(engine: FluxEngine, prompt: str = PROMPT, seed: int = 1) -> FluxDrawing:
    return engine.draw(prompt, width=512, height=512, seed=seed)


@pytest.mark.parametrize(("width", "height"), SIZES.values())
def test_the_same_seed_gives_the_same_bytes_at_every_size(
    engine: FluxEngine, width: int, height: int
) -> None:
    first, second = (
        engine.draw(PROMPT, width=width, height=height, seed=7).png() for _ in range(2)
    )
    assert first == second
    assert Image.open(BytesIO(first)).size == (width, height)


def test_another_engine_of_the_same_fingerprint_gives_the_same_bytes(
    engine: FluxEngine, checkpoint_folder: Path
) -> None:
    from inference.engines.flux import FluxEngine

    other = FluxEngine(str(checkpoint_folder))
    other.load()
    assert other.fingerprint == engine.fingerprint
    assert draw(other).png() == draw(engine).png()


def distance(first: FluxDrawing, second: FluxDrawing) -> float:
    """Mean difference of the pixels, of 255. Above 8 the eye notices it at once."""
    return float(np.abs(first.pixels.astype(int) - second.pixels.astype(int)).mean())


def test_another_prompt_gives_another_picture(engine: FluxEngine) -> None:
    assert distance(draw(engine), draw(engine, prompt="a cyberpunk city at sunset, neon")) > 8


def test_other_seeds_give_other_pictures(engine: FluxEngine) -> None:
    # The miniature's layouts have three steps each, so two seeds in a row may be nearly alike.
    pictures = [draw(engine, seed=seed) for seed in (1, 2, 3, 4)]
    distances = [distance(*pair) for pair in combinations(pictures, 2)]
    assert min(distances) > 4
    assert sum(each > 8 for each in distances) >= 4


def test_pictures_are_colorful_and_not_flat(engine: FluxEngine) -> None:
    pixels = draw(engine, "a red circle on a blue background").pixels.astype(int)
    assert pixels.std() > 30
    assert np.ptp(pixels, axis=2).mean() > 30  # between the channels: gray would be 0


def test_the_highest_seed_draws_and_the_next_is_refused(engine: FluxEngine) -> None:
    assert draw(engine, seed=SEED_MAX).pixels.shape == (512, 512, 3)
    for seed in (-1, SEED_MAX + 1):
        with pytest.raises(ValueError, match="outside"):
            draw(engine, seed=seed)


def test_a_size_that_the_pipeline_would_round_is_refused(engine: FluxEngine) -> None:
    with pytest.raises(ValueError, match="multiples of 64"):
        engine.draw(PROMPT, width=500, height=512, seed=1)


def test_each_step_is_told(engine: FluxEngine) -> None:
    steps: list[tuple[int, int]] = []
    engine.draw(
        PROMPT, width=512, height=512, seed=1, on_step=lambda step, of: steps.append((step, of))
    )
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_tokens_are_counted_whole_and_seen_as_far_as_the_checkpoint_reads(
    engine: FluxEngine,
) -> None:
    short, long = draw(engine, "a red circle"), draw(engine, "fox " * 300)
    assert (short.prompt_tokens, short.prompt_tokens_seen) == (4, 4)
    assert (long.prompt_tokens, long.prompt_tokens_seen) == (301, 48)


@pytest.mark.parametrize("prompt", ["", "\ud800 half a character", "日本語🦊\x00"])
def test_any_text_can_be_drawn(engine: FluxEngine, prompt: str) -> None:
    assert draw(engine, prompt).pixels.any()


def test_a_long_prompt_reaches_no_log(
    engine: FluxEngine, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference.engines.library_logs import PIPELINE_LOGGER

    records: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    for name in (None, "diffusers", "transformers", PIPELINE_LOGGER):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", [*logger.handlers, listener])
        monkeypatch.setattr(logger, "level", logging.DEBUG)  # as if someone turned them up
    logging.root.setLevel(logging.DEBUG)  # also makes every logger forget the level it knew
    draw(engine, "sesame " * 400)
    assert "sesame" not in "".join([*records, *capfd.readouterr()])


def test_the_fingerprint_fits_a_header_and_says_what_drew(engine: FluxEngine) -> None:
    import torch

    from inference.engines.flux import device_class

    fingerprint = engine.fingerprint
    assert fingerprint.isascii()
    assert fingerprint.isprintable()
    assert len(fingerprint) <= 160
    assert fingerprint.startswith("flux-miniature")
    assert f"torch={torch.__version__}" in fingerprint
    assert fingerprint.endswith(f"float32; {device_class(torch.device('cpu'))}")


def test_the_fingerprint_counts_the_threads_because_they_change_the_bytes() -> None:
    import torch

    from inference.engines.flux import device_class

    assert f"-{torch.get_num_threads()}-threads" in device_class(torch.device("cpu"))


@pytest.mark.parametrize("whole_file_bytes", [checkpoint.WHOLE_FILE_BYTES, 0])
def test_retouched_weights_have_another_digest(
    checkpoint_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole_file_bytes: int,
) -> None:
    monkeypatch.setattr(checkpoint, "WHOLE_FILE_BYTES", whole_file_bytes)
    copy = shutil.copytree(checkpoint_folder, tmp_path / "copy")
    before = checkpoint.digest_of(copy, checkpoint.read_index(copy))
    assert before == checkpoint.digest_of(checkpoint_folder, checkpoint.read_index(copy))
    weights = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-65536:] = bytes(65536)  # the whole of the last tensors: big files are only sampled
    weights.write_bytes(data)
    assert checkpoint.digest_of(copy, checkpoint.read_index(copy)) != before


def test_an_unlabelled_checkpoint_is_named_after_its_setting(tmp_path: Path) -> None:
    assert checkpoint.name_of(tmp_path, "black-forest-labs/FLUX.1-schnell") == "FLUX.1-schnell"
    assert checkpoint.name_of(tmp_path, "/models/Füchse\r\nX-Evil: 1/") == "F-chse-X-Evil-1"


@pytest.mark.parametrize(
    "model", ["/nowhere/at/all", "./nowhere", "flux", "a/b/c", str(Path(__file__).parent)]
)
def test_a_model_that_is_not_there_is_refused_with_what_to_do(model: str) -> None:
    from inference.engines.flux import FluxEngine

    with pytest.raises(EngineUnavailable, match="FLUX_MODEL"):
        FluxEngine(model).load()


def test_damaged_weights_are_refused_with_what_to_do(
    checkpoint_folder: Path, tmp_path: Path
) -> None:
    from inference.engines.flux import FluxEngine

    copy = shutil.copytree(checkpoint_folder, tmp_path / "copy")
    os.truncate(copy / "vae" / "diffusion_pytorch_model.safetensors", 100_000)
    with pytest.raises(EngineUnavailable, match="Set FLUX_MODEL"):
        FluxEngine(str(copy)).load()


def test_nothing_is_drawn_before_loading() -> None:
    from inference.engines.flux import FluxEngine

    with pytest.raises(EngineUnavailable, match="load"):
        draw(FluxEngine("somewhere"))
    with pytest.raises(EngineUnavailable, match="load"):
        _ = FluxEngine("somewhere").fingerprint


def test_a_full_device_is_called_by_our_name_and_the_engine_draws_on(engine: FluxEngine) -> None:
    import torch

    def run_out(step: int, _steps: int) -> None:
        if step == 2:
            raise torch.OutOfMemoryError

    before = draw(engine).png()
    with pytest.raises(OutOfMemory, match="free_memory"):
        engine.draw(PROMPT, width=512, height=512, seed=1, on_step=run_out)
    engine.free_memory()
    assert draw(engine).png() == before


def test_what_the_listener_raises_ends_the_drawing(engine: FluxEngine) -> None:
    def cancel(_step: int, _steps: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        engine.draw(PROMPT, width=512, height=512, seed=1, on_step=cancel)


def test_the_pipeline_is_the_one_that_diffusers_publishes(engine: FluxEngine) -> None:
    import diffusers

    assert type(engine._pipeline) is diffusers.FluxPipeline
