"""The miniature: FLUX's own classes, small, built the same each time, open to any text."""

import errno
import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from inference import miniature
from inference.engines.flux import FluxEngine
from inference.miniature import cache, tokenizers, vocabulary

LIMIT_BYTES = 16_000_000
BUILD = """
import pathlib, sys
from inference.miniature import ensure
print(ensure(pathlib.Path(sys.argv[1])))
"""
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


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


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


def test_building_it_again_elsewhere_gives_the_same_bytes(
    checkpoint_folder: Path, tmp_path: Path
) -> None:
    again = miniature.ensure(tmp_path)
    assert again.name == checkpoint_folder.name
    assert contents(again) == contents(checkpoint_folder)


def test_two_processes_may_build_it_at_once(checkpoint_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(tmp_path)]
    builders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {builder.communicate(timeout=120)[0].strip() for builder in builders}
    assert answers == {str(tmp_path / checkpoint_folder.name)}
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint_folder.name]
    assert contents(Path(answers.pop())) == contents(checkpoint_folder)


def test_what_is_built_is_not_built_again(
    checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_build", lambda _: pytest.fail("built twice"))
    assert miniature.ensure(checkpoint_folder.parent) == checkpoint_folder


def test_a_failed_build_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("inference.miniature.assembly.save", fail)
    with pytest.raises(OSError, match="No space"):
        miniature.ensure(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_users_workers_can_read_it(checkpoint_folder: Path) -> None:
    modes = {path.stat().st_mode & 0o444 for path in checkpoint_folder.rglob("*")}
    assert modes == {0o444}


def test_every_known_word_is_one_token_for_both() -> None:
    clip, t5 = tokenizers.clip_tokenizer(), tokenizers.t5_tokenizer()
    for word in vocabulary.words():
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
