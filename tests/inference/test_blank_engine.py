"""The blank engine: noise of a seed and size, about as heavy as a picture, after a set time."""

import time
from io import BytesIO

import pytest
from PIL import Image

from inference.engines import blank
from inference.engines.base import SEED_MAX
from inference.engines.blank import BlankEngine


def png_of(seed: int, width: int = 512, height: int = 512) -> bytes:
    return BlankEngine().draw("a fox", width=width, height=height, seed=seed).png()


def test_a_picture_weighs_about_as_much_as_a_real_one() -> None:
    picture = png_of(1, 1024, 1024)
    assert Image.open(BytesIO(picture)).size == (1024, 1024)
    assert 1_250_000 < len(picture) < 1_550_000


def test_the_same_seed_and_size_give_the_same_bytes_made_afresh() -> None:
    first = png_of(SEED_MAX, 768, 512)
    blank.noise_png.cache_clear()
    assert png_of(SEED_MAX, 768, 512) == first


def test_another_seed_or_size_gives_other_bytes() -> None:
    assert len({png_of(1), png_of(2), png_of(1, 512, 768), png_of(1, 768, 512)}) == 4


def test_each_pair_of_seed_and_size_is_made_once_and_few_are_kept() -> None:
    blank.noise_png.cache_clear()
    for seed in [*range(blank.PICTURES_KEPT + 5), blank.PICTURES_KEPT]:
        png_of(seed, 64, 64)
    kept = blank.noise_png.cache_info()
    assert (kept.hits, kept.currsize) == (1, blank.PICTURES_KEPT)


def test_every_drawing_takes_its_seconds_and_tells_each_step_on_the_way() -> None:
    engine, steps, started = BlankEngine(seconds=0.2), [], time.monotonic()
    for _ in range(2):
        engine.draw(
            "a fox",
            width=64,
            height=64,
            seed=1,
            on_step=lambda step, of: steps.append((step, of, time.monotonic() - started)),
        )
    assert [step[:2] for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)] * 2
    assert steps[0][2] >= 0.05
    assert steps[-1][2] >= 0.4


def test_tokens_are_words_and_256_of_them_are_seen() -> None:
    drawing = BlankEngine().draw("fox " * 300, width=64, height=64, seed=1)
    assert (drawing.prompt_tokens, drawing.prompt_tokens_seen) == (300, 256)


@pytest.mark.parametrize("seed", [-1, SEED_MAX + 1])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=str(seed)):
        png_of(seed)


def test_a_negative_time_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        BlankEngine(seconds=-1)
