"""How much of a prompt is outside the model's vocabulary, and when that is most of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.checkpoints import MINIATURE
from inference.engines import prompt_tokens
from inference.engines.base import TOKENS_SEEN_AT_MOST
from inference.engines.blank import BlankEngine
from inference.engines.prompt_tokens import PromptTokens

if TYPE_CHECKING:
    from transformers import T5TokenizerFast

    from inference.engines.flux import FluxEngine

CHINESE = "一只红色的狐狸坐在雪地里的老树旁边看着远处的山和落日水彩画柔和的光线细节丰富高质量背景是森林和小溪"


@pytest.fixture(scope="module")
def latin() -> T5TokenizerFast:
    """The miniature's tokenizer with Latin letters alone: the scripts of FLUX.1 Schnell's T5."""
    from transformers import T5TokenizerFast

    whole = T5TokenizerFast.from_pretrained(MINIATURE / "tokenizer_2")
    pieces = [piece for piece, _ in sorted(whole.get_vocab().items(), key=lambda pair: pair[1])]
    kept = [(piece, -1.0) for piece in pieces if piece.strip("▁") < "\u0250"]
    return T5TokenizerFast(vocab=kept, extra_ids=0)


def count(tokenizer: T5TokenizerFast, prompt: str) -> PromptTokens:
    return prompt_tokens.count(tokenizer, prompt, TOKENS_SEEN_AT_MOST)


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        (CHINESE, 1),  # one token of three: a space, the unknown run, the end
        ("一只红色的狐狸, 在雪中, 水彩", 3),
        ("一只红色的狐狸坐在雪地里 8k, HDR", 1),
        ("雪の中の赤い狐、水彩画", 1),
        ("ثعلب أحمر في الثلج", 4),
        ("рыжая лиса в снегу", 4),
        ("눈 속의 붉은 여우", 4),
        ("बर्फ में लाल लोमड़ी", 4),
        ("🦊🌲❄️", 1),
        ("🦊 a 🌲", 2),
        ("狐 x\u200b", 2),
    ],
)
def test_a_prompt_in_an_unknown_script_is_mostly_unknown(
    latin: T5TokenizerFast, prompt: str, unknown: int
) -> None:
    assert count(latin, prompt).unknown == unknown


@pytest.mark.parametrize(
    "prompt",
    [
        "a red fox in the snow",
        "ein süßer Fuchs, très jolie",
        "flibbertigibbet --ar 16:9",
        "fox 狐",
        "a fox 🦊🦊",
        "red 狐狸狐",  # three characters of each: half is not most
        "",
        " \t\n",
    ],
)
def test_a_prompt_of_which_half_is_known_is_not(latin: T5TokenizerFast, prompt: str) -> None:
    assert count(latin, prompt).unknown == 0


def test_only_what_the_model_saw_counts(latin: T5TokenizerFast) -> None:
    english, chinese = "fox " * 300, "狐狸狐狸狐狸 " * 300
    assert count(latin, english + chinese) == PromptTokens(901, 256, 0)
    cut = count(latin, chinese + english)
    assert (cut.given, cut.seen) == (901, 256)
    assert cut.unknown in {127, 128}  # 255 tokens before the end: a space and an unknown one each


def test_a_drawing_tells_it(engine: FluxEngine) -> None:
    drawing = engine.draw(CHINESE, width=512, height=512, seed=1)
    told = drawing.prompt_tokens, drawing.prompt_tokens_seen, drawing.prompt_tokens_unknown
    assert told == (3, 3, 1)


def test_words_are_never_unknown_to_the_blank_engine() -> None:
    drawing = BlankEngine().draw(CHINESE, width=512, height=512, seed=1)
    assert drawing.prompt_tokens_unknown == 0
