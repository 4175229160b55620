"""What a call asked for and did not get is named in `x-ecohash-ignored`."""

from typing import Any

import pytest

from images.api.ignored import ignored_fields
from images.api.serializers import READ_FIELDS
from tests.calls import BODY, generate
from tests.cast import Person
from tests.working import working

HEADER = "x-ecohash-ignored"


def ignored(**fields: Any) -> list[str]:
    return ignored_fields(BODY | fields, read=READ_FIELDS)


@pytest.mark.django_db(transaction=True)
def test_the_answer_names_what_was_ignored(alice: Person) -> None:
    with working():
        plain = generate(alice)
        response = generate(alice, quality="hd", style="vivid", user="me", steps=50)
    assert (plain.status_code, response.status_code) == (200, 200)
    assert HEADER not in plain
    assert response[HEADER] == "quality, style, steps"
    assert HEADER in response["Access-Control-Expose-Headers"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quality", "standard"),
        ("style", "natural"),
        ("background", "white"),
        ("background", 7),
        ("moderation", "low"),
        ("input_fidelity", "high"),
        ("output_compression", 50),
        ("partial_images", 2),
        ("partial_images", False),
        ("negative_prompt", ""),
        ("guidance-scale", 3.5),
        ("extra.field", []),
    ],
)
def test_a_wish_without_effect_is_named(field: str, value: Any) -> None:
    assert ignored(**{field: value}) == [field]


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1, "size": "auto", "seed": 7, "stream": False, "output_format": "png"},
        {"quality": "auto", "moderation": "auto", "background": "auto"},
        {"quality": None, "style": None, "steps": None},
        {"background": "opaque", "output_compression": 100, "partial_images": 0},
        {"user": "somebody", "safety_identifier": "x"},
    ],
)
def test_what_asks_for_nothing_is_not_named(fields: dict[str, Any]) -> None:
    assert ignored(**fields) == []


@pytest.mark.parametrize(
    "name",
    ["", "a red fox", "x" * 41, "eco_" + "a" * 30, "sk-abc", "a" * 24, "\u00fc", "a\nb: c", "a,b"],
)
def test_a_name_that_is_no_plain_word_is_not_repeated(name: str) -> None:
    assert ignored(**{name: 1}) == ["..."]
    assert ignored(**{name: 1, "steps": 4}) == ["steps", "..."]


def test_twenty_names_are_enough() -> None:
    names = [f"field{n}" for n in range(30)]
    assert ignored(**dict.fromkeys(names, 1)) == [*names[:20], "..."]
    assert ignored(**dict.fromkeys(names[:20], 1)) == names[:20]
