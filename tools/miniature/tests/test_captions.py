"""Captions: they name what the picture's words fix, in words that both tokenizers know."""

import re

import numpy as np
import pytest

from tools.miniature import vocabulary
from tools.miniature.illustrator import captions
from tools.miniature.illustrator.captions import caption, plain
from tools.miniature.illustrator.palette import COLORS, OTHER_NAMES
from tools.miniature.illustrator.pictures import Scene, Shape, ShapePicture, Subject
from tools.miniature.illustrator.sampling import invent


@pytest.mark.parametrize(
    ("picture", "prompt"),
    [
        (ShapePicture(Shape("circle", "red"), "blue"), "a red circle on a blue background"),
        (ShapePicture(Shape("star", "orange")), "an orange star"),
        (
            ShapePicture(Shape("cross", "teal"), "white", count=3),
            "three teal crosses on a white background",
        ),
        (
            ShapePicture(Shape("ring", "pink"), "black", place="top left"),
            "a pink ring in the top left corner of a black background",
        ),
        (
            ShapePicture(Shape("heart", "red"), "gray", other=Shape("square"), relation="above"),
            "a red heart above a square on a gray background",
        ),
    ],
)
def test_the_plain_prompt_is_what_a_person_would_type(picture: ShapePicture, prompt: str) -> None:
    assert plain(picture) == prompt


def test_every_word_of_a_caption_is_in_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "NOISE_SHARE", 0)
    rng, known = np.random.default_rng(2), set(vocabulary.words())
    unknown = {
        word
        for _ in range(3000)
        for word in re.split(r"[ ,.]+", caption(invent(rng), rng).lower())
        if word and word not in known
    }
    assert unknown == set()


def test_a_caption_names_each_color_and_the_subject_of_its_picture() -> None:
    rng = np.random.default_rng(3)
    scene = Scene("sea", subject=Subject("boat", "purple"), style="neon")
    for _ in range(200):
        text = caption(scene, rng).lower()
        assert any(name in text for name in ("purple", *OTHER_NAMES["purple"]))
        assert any(name in text for name in ("boat", "ship"))
        assert "neon" in text or "cyberpunk" in text
        assert not any(re.search(rf"\b{name}\b", text) for name in set(COLORS) - {"purple"})


def test_one_picture_is_said_in_many_ways() -> None:
    rng = np.random.default_rng(4)
    picture = ShapePicture(Shape("circle", "red"), "blue", place="left")
    assert len({caption(picture, rng) for _ in range(100)}) > 60


def test_three_of_a_thing_may_be_said_without_a_number() -> None:
    rng = np.random.default_rng(5)
    flowers, flower = (Scene("meadow", subject=Subject("flower", "black", n)) for n in (3, 1))
    said = [caption(flowers, rng).lower() for _ in range(200)]
    bare = [text for text in said if not re.search(r"\b(three|3)\b", text)]
    assert 0 < len(bare) < len(said)
    assert all("flowers" in text for text in bare)
    assert not any("black flowers" in caption(flower, rng).lower() for _ in range(200))
