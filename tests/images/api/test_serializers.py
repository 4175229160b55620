"""Every rule of the request table, one value at a time."""

from typing import Any

import pytest

from accounts.http.refusals import InvalidRequest
from images.api.serializers import GenerationSerializer, ModelNotFound
from images.pages.forms import PlaygroundForm

VALID = {"model": "flux-1-schnell", "prompt": "a red fox"}
IGNORED = (
    "quality",
    "style",
    "background",
    "moderation",
    "output_compression",
    "user",
    "safety_identifier",
    "partial_images",
    "something_nobody_knows",
)
WRONG_TYPES: dict[str, tuple[Any, ...]] = {
    "model": (1, True, 1.5, [], {}, ["flux-1-schnell"]),
    "prompt": (1, False, 0.0, [], {}, ["a red fox"]),
    "size": (512, True, [], {}, [512, 512]),
    "n": ("1", True, False, 1.5, [], {}, [1]),
    "response_format": (1, True, [], {}, ["url"]),
    "seed": ("1", True, False, 0.5, [], {}),
    "output_format": (1, True, [], {}, ["png"]),
    "stream": ("true", "false", 0, 1, 0.0, [], {}),
}


def asked(**fields: Any) -> dict[str, Any]:
    """The request with these fields; `...` leaves one out."""
    body = {name: value for name, value in (VALID | fields).items() if value is not ...}
    return GenerationSerializer(data=body).parameters()


def fault(**fields: Any) -> tuple[str | None, str | None]:
    """The code and the field that the request is refused with."""
    with pytest.raises((InvalidRequest, ModelNotFound)) as refused:
        asked(**fields)
    return refused.value.code, refused.value.param


def test_two_fields_are_enough_and_the_rest_has_defaults() -> None:
    assert asked() == {
        "model": "flux-1-schnell",
        "prompt": "a red fox",
        "size": "1024x1024",
        "seed": None,
        "response_format": "b64_json",
    }


@pytest.mark.parametrize("field", ["model", "prompt"])
@pytest.mark.parametrize("value", [..., None])
def test_a_required_field_may_be_neither_missing_nor_null(field: str, value: Any) -> None:
    assert fault(**{field: value}) == ("missing_required_parameter", field)


@pytest.mark.parametrize(
    "field", ["size", "n", "response_format", "seed", "output_format", "stream"]
)
def test_null_means_the_default(field: str) -> None:
    assert asked(**{field: None}) == asked()


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field in WRONG_TYPES for value in WRONG_TYPES[field]]
)
def test_a_value_of_another_json_type_is_never_converted(field: str, value: Any) -> None:
    assert fault(**{field: value}) == ("invalid_type", field)


@pytest.mark.parametrize("field", IGNORED)
@pytest.mark.parametrize("value", [None, "x", 7, True, [], {"a": 1}])
def test_what_other_clients_send_is_ignored(field: str, value: Any) -> None:
    assert asked(**{field: value}) == asked()


@pytest.mark.parametrize("value", ["transparent", "Transparent", " transparent "])
def test_a_transparent_background_is_refused_and_not_painted_over(value: str) -> None:
    assert fault(background=value) == ("unsupported_parameter", "background")


def test_a_whole_number_with_a_point_is_whole() -> None:
    assert asked(n=1.0, seed=-0.0)["seed"] == 0
    assert isinstance(asked(seed=7.0)["seed"], int)


def test_another_model_is_not_found() -> None:
    assert fault(model="dall-e-3") == ("model_not_found", "model")
    assert fault(model="") == ("model_not_found", "model")
    assert fault(model="FLUX-1-SCHNELL") == ("model_not_found", "model")


@pytest.mark.parametrize("size", ["512x512", "768x768", "1024x1024", "1024x768", "768x1024"])
def test_each_size_on_offer_is_taken(size: str) -> None:
    assert asked(size=size)["size"] == size


def test_auto_is_the_default_size() -> None:
    assert asked(size="auto")["size"] == "1024x1024"


@pytest.mark.parametrize(
    "size", ["", "512", "512X512", "512 x 512", " 512x512", "512×512", "256x256", "Auto", "large"]
)
def test_other_spellings_of_a_size_are_not_guessed_at(size: str) -> None:
    assert fault(size=size) == ("invalid_value", "size")


def test_one_image_at_a_time() -> None:
    assert asked(n=1) == asked()
    assert fault(n=2) == ("integer_above_max_value", "n")
    assert fault(n=10**400) == ("integer_above_max_value", "n")
    assert fault(n=0) == ("integer_below_min_value", "n")
    assert fault(n=-1) == ("integer_below_min_value", "n")


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_a_seed_has_32_bits(seed: int) -> None:
    assert asked(seed=seed)["seed"] == seed


def test_a_seed_outside_its_range_is_refused() -> None:
    assert fault(seed=-1) == ("integer_below_min_value", "seed")
    assert fault(seed=2**32) == ("integer_above_max_value", "seed")
    assert fault(seed=2**64) == ("integer_above_max_value", "seed")


def test_both_response_formats_are_taken_and_no_other() -> None:
    assert asked(response_format="url")["response_format"] == "url"
    assert fault(response_format="base64") == ("invalid_value", "response_format")


def test_a_prompt_is_counted_in_code_points_and_never_cut() -> None:
    assert asked(prompt="🦊" * 1_000)["prompt"] == "🦊" * 1_000
    assert fault(prompt="a" * 1_001) == ("string_above_max_length", "prompt")


def test_a_prompt_reaches_the_engine_as_it_was_written() -> None:
    assert asked(prompt="  two  spaces\n")["prompt"] == "  two  spaces\n"


@pytest.mark.parametrize("prompt", ["", " ", "\n\t ", "\u2003\u00a0"])
def test_a_prompt_of_white_space_is_empty(prompt: str) -> None:
    assert fault(prompt=prompt) == ("invalid_value", "prompt")


INVISIBLE = {
    "zero-width space": "\u200b",
    "joiners and marks of direction": "\u200c\u200d\u200e\u202e\u2066",
    "word joiner": "\u2060 \u2061",
    "byte order mark": "\ufeff",
    "variation selectors": "\ufe0f\U000e0100",
    "soft hyphen": "\u00ad",
    "blank of Braille": "\u2800\u2800",
    "fillers of Hangul": "\u3164\u115f\u1160\uffa0",
    "tags": "\U000e0068\U000e0069\U000e007f",
    "reserved": "\u2065\ufff0\U000e0fff",
    "controls": "\x01\x1b\x7f\x85",
    "a mark without a letter": "\u0301",
    "grapheme joiner": "\u034f",
    "vowel separator": "\u180e",
    "all spaces": "\u00a0\u1680\u2000\u2028\u2029\u202f\u205f\u3000",
}


@pytest.mark.parametrize("prompt", INVISIBLE.values(), ids=[*INVISIBLE])
def test_a_prompt_of_invisible_characters_is_empty(prompt: str) -> None:
    assert fault(prompt=prompt) == ("invalid_value", "prompt")
    assert fault(prompt=f" {prompt * 3}\n") == ("invalid_value", "prompt")
    assert not PlaygroundForm({"prompt": prompt, "size": "512x512"}).is_valid()
    # Beside something to see they stay as they are.
    assert asked(prompt=f"{prompt}fox{prompt}")["prompt"] == f"{prompt}fox{prompt}"


@pytest.mark.parametrize(
    "prompt", ["a", "?", "\u732b", "\U0001f98a", "\u2764\ufe0f", "\u06dd", "\ufffc", "\uf8ff"]
)
def test_one_visible_character_is_a_prompt(prompt: str) -> None:
    assert asked(prompt=prompt)["prompt"] == prompt


@pytest.mark.parametrize("prompt", ["a\x00b", "half \ud83d", "\udc00"])
def test_a_prompt_that_no_database_can_hold_is_refused(prompt: str) -> None:
    assert fault(prompt=prompt) == ("invalid_value", "prompt")


def test_png_is_the_only_output_format_so_far() -> None:
    assert asked(output_format="png") == asked()
    assert fault(output_format="webp") == ("unsupported_parameter", "output_format")
    assert fault(output_format="jpeg") == ("unsupported_parameter", "output_format")
    assert fault(output_format="gif") == ("invalid_value", "output_format")


def test_streaming_is_refused_rather_than_answered_in_one_piece() -> None:
    assert asked(stream=False) == asked()
    assert fault(stream=True) == ("unsupported_parameter", "stream")


def test_of_several_faults_the_first_field_is_answered() -> None:
    assert fault(model="x", prompt="", n=9) == ("model_not_found", "model")
    assert fault(prompt="", n=9) == ("invalid_value", "prompt")


def test_no_refusal_repeats_the_prompt() -> None:
    with pytest.raises(InvalidRequest) as refused:
        asked(prompt="CANARY" * 200)
    assert "CANARY" not in str(refused.value)
