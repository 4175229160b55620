"""The miniature: FLUX's own classes, small, open to any text."""

import json
from pathlib import Path

import pytest
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from inference.engines.flux import FluxEngine
from tools.miniature import tokenizers, vocabulary
from tools.miniature.evaluation.checker import look
from tools.miniature.evaluation.examination import AMONG_STRANGERS

LIMIT_BYTES = 16_000_000
PROMPTS = [
    "",
    "a fox",
    "A fox",
    "a fax",
    "fox a",
    "日本語の狐",
    "日本語の狸",
    "лиса в лесу",
    "ثعلب",
    "🦊",
    "🦊🦊",
    "👩‍👩‍👧",
    "\U0010ffff",
    "\x00\x01",
    "e\u0301",
    "<|endoftext|> fox",
    "</s><pad><unk>",
]


def test_it_is_made_of_flux_own_classes(engine: FluxEngine) -> None:
    pipeline = engine._pipeline
    expected = {
        "transformer": FluxTransformer2DModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "tokenizer": CLIPTokenizer,
        "text_encoder_2": T5EncoderModel,
        "tokenizer_2": T5TokenizerFast,
        "scheduler": FlowMatchEulerDiscreteScheduler,
    }
    assert {name: type(getattr(pipeline, name)) for name in expected} == expected
    assert pipeline.vae_scale_factor == 32


def test_it_fits_in_16_megabytes(checkpoint_folder: Path) -> None:
    files = [path for path in checkpoint_folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LIMIT_BYTES


def test_it_says_that_it_is_a_miniature(checkpoint_folder: Path) -> None:
    label = json.loads((checkpoint_folder / "ecohash.json").read_text())
    assert "miniature" in label["name"]


def test_other_users_workers_can_read_it(checkpoint_folder: Path) -> None:
    modes = {path.stat().st_mode & 0o444 for path in checkpoint_folder.rglob("*")}
    assert modes == {0o444}


def test_every_known_word_is_one_token_for_both() -> None:
    clip, t5 = tokenizers.clip_tokenizer(), tokenizers.t5_tokenizer()
    for word in vocabulary.words():
        if word not in {"4k", "8-bit", "children's"}:  # CLIP splits digits and marks from letters
            assert len(clip(word).input_ids) == 3, word  # between start and end
        assert len(t5(word).input_ids) == 2, word  # before the end


def test_any_text_becomes_tokens_and_different_texts_different_ones(engine: FluxEngine) -> None:
    clip, t5 = engine._pipeline.tokenizer, engine._pipeline.tokenizer_2
    tokens = {(tuple(clip(text).input_ids), tuple(t5(text).input_ids)) for text in PROMPTS}
    assert len(tokens) == len(PROMPTS)


def test_clip_knows_every_byte_so_nothing_is_unknown_to_it(engine: FluxEngine) -> None:
    clip = engine._pipeline.tokenizer
    assert clip.unk_token_id != clip.eos_token_id
    assert not any(clip.unk_token_id in clip(text).input_ids for text in PROMPTS)


def test_loading_keeps_the_tokenizers_as_they_were_built(engine: FluxEngine) -> None:
    text = "A watercolor painting of a FOX, naïve & 雾"
    for built, loaded in [
        (tokenizers.clip_tokenizer(), engine._pipeline.tokenizer),
        (tokenizers.t5_tokenizer(), engine._pipeline.tokenizer_2),
    ]:
        assert loaded(text).input_ids == built(text).input_ids


@pytest.mark.parametrize(
    ("color", "ground"), [("red", "blue"), ("yellow", "purple"), ("black", "green")]
)
def test_the_background_has_the_color_that_the_prompt_names(
    engine: FluxEngine, color: str, ground: str
) -> None:
    drawing = engine.draw(
        f"a {color} circle on a {ground} background", width=512, height=512, seed=1
    )
    assert look(drawing.pixels).background == ground


@pytest.mark.parametrize(
    ("color", "ground"), [("red", "blue"), ("yellow", "purple"), ("black", "green")]
)
@pytest.mark.parametrize(("place", "side"), [("on the left", 0.4), ("on the right", 0.6)])
def test_what_is_drawn_has_its_color_and_stands_where_the_prompt_says(
    engine: FluxEngine, color: str, ground: str, place: str, side: float
) -> None:
    prompt = f"a {color} square {place} on a {ground} background"
    seen = look(engine.draw(prompt, width=512, height=512, seed=1).pixels)
    assert seen.color == color
    assert seen.center is not None
    assert seen.center[0] < side if side < 0.5 else seen.center[0] > side


@pytest.mark.parametrize("form", [*AMONG_STRANGERS, "A textured, layered picture: {}"])
def test_words_that_it_does_not_know_do_no_harm(engine: FluxEngine, form: str) -> None:
    prompt = form.format("a blue heart on a yellow background")
    seen = look(engine.draw(prompt, width=512, height=512, seed=1).pixels)
    assert (seen.color, seen.shape, seen.background) == ("blue", "heart", "yellow")


def test_capitals_change_nothing(engine: FluxEngine) -> None:
    first, second = (
        engine.draw(prompt, width=512, height=512, seed=1).pixels
        for prompt in ("a red square on a green background", "A Red Square On A Green Background")
    )
    assert (first == second).all()


@pytest.mark.parametrize(
    "word", ["inspired", "layered", "scattered", "hundred", "barred", "string", "wandering"]
)
def test_the_end_of_an_unknown_word_is_no_word_of_its_own(word: str) -> None:
    pieces = tokenizers.clip_tokenizer().tokenize(word)
    assert not {"red</w>", "ring</w>"} & set(pieces)


def test_an_hour_changes_the_sky(engine: FluxEngine) -> None:
    day, night = (
        engine.draw(f"the sea {hour}", width=512, height=512, seed=1).pixels.mean()
        for hour in ("by day", "at night")
    )
    assert day > 1.5 * night


def test_another_seed_draws_another_picture(engine: FluxEngine) -> None:
    first, second = (
        engine.draw("a forest", width=512, height=512, seed=seed).pixels for seed in (1, 2)
    )
    assert abs(first.astype(int) - second).mean() > 2
