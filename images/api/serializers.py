"""What a caller may ask for, and how each wrong value is answered.

DRF's own fields are generous ("1" is 1, 1 is "1", true is 1); this contract is not, so the fields
here judge the JSON type first. Each failure carries the contract's code; the first one is answered.
"""

from typing import Any, NoReturn

from rest_framework import serializers
from rest_framework.fields import empty

from accounts.http.refusals import InvalidRequest, Refusal
from accounts.http.repeatable import repeatable
from images.catalog import DEFAULT_SIZE, MODELS, PROMPT_LIMIT, SEED_LIMIT, SIZES
from images.jobs import prompts

NOT_BUILT_FORMATS = ("jpeg", "webp")
# The fields that decide the answer; the others only must not ask for what is not offered.
PARAMETERS = ("model", "prompt", "size", "seed", "response_format")
# Fields of which each value is obeyed or refused. The others are named in the answer as ignored.
READ_FIELDS = frozenset({*PARAMETERS, "n", "output_format", "stream"})


OFFERED_MODELS = " or ".join(f"`{model}`" for model in MODELS)


class ModelNotFound(Refusal):
    status = 404
    code = "model_not_found"
    param = "model"

    def __init__(self, asked: object = "") -> None:
        name = repeatable(asked)
        which, it = (f"The model `{name}`", f"`{name}`") if name else ("This model", "it")
        super().__init__(
            f"{which} does not exist here. Use {OFFERED_MODELS}, "
            f"or give this key an alias for {it} on its page."
        )


class StrictField(serializers.Field[Any, Any, Any, Any]):
    """A field that judges the JSON type; null means the default, where there is one.

    `missing` says what to send where a required one is left out.
    """

    missing = ""

    def refuse(self, code: str, text: str) -> NoReturn:
        raise serializers.ValidationError(text, code=code)

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        if data is None or data is empty:
            if self.default is empty:
                text = f"'{self.field_name}' is required. {self.missing}".rstrip()
                self.refuse("missing_required_parameter", text)
            return True, self.default
        return False, data

    def to_representation(self, value: Any) -> Any:
        return value


class Text(StrictField):
    """A JSON string; with `choices`, one of those."""

    def __init__(self, *, choices: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.choices = choices

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.refuse("invalid_type", f"'{self.field_name}' must be a string.")
        if self.choices and data not in self.choices:
            offered = ", ".join(self.choices)
            self.refuse("invalid_value", f"'{self.field_name}' must be one of: {offered}.")
        return data


class ModelName(Text):
    missing = f"Use {OFFERED_MODELS}."


class Prompt(Text):
    """Text that can be drawn and stored: not empty, not too long, no NUL, no half characters."""

    missing = "Say in words what the image shows."

    def to_internal_value(self, data: Any) -> str:
        prompt = super().to_internal_value(data)
        if len(prompt) > PROMPT_LIMIT:
            self.refuse(
                "string_above_max_length",
                f"'prompt' may have at most {PROMPT_LIMIT} characters. It was not cut; shorten it.",
            )
        if not prompt.strip():
            self.refuse("invalid_value", "'prompt' is empty. Say in words what the image shows.")
        if prompts.is_empty(prompt):
            self.refuse(
                "invalid_value",
                "'prompt' has only invisible characters. Say in words what the image shows.",
            )
        if "\x00" in prompt or any("\ud800" <= character <= "\udfff" for character in prompt):
            self.refuse("invalid_value", "'prompt' holds characters that are not text.")
        return prompt


class Whole(StrictField):
    """A JSON whole number between two bounds; true is none.

    JSON does not tell 1 from 1.0, and some languages write each number with a point (RFC 8259, 6).
    """

    def __init__(self, *, least: int, most: int, above: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.least, self.most, self.above = least, most, above

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():
            data = int(data)
        if not isinstance(data, int) or isinstance(data, bool):
            self.refuse("invalid_type", f"'{self.field_name}' must be a whole number.")
        if data < self.least:
            self.refuse(
                "integer_below_min_value", f"'{self.field_name}' must be at least {self.least}."
            )
        if data > self.most:
            text = self.above or f"'{self.field_name}' must be at most {self.most}."
            self.refuse("integer_above_max_value", text)
        return data


class OutputFormat(Text):
    """`png`; the other formats of OpenAI's API are refused, never silently replaced."""

    def to_internal_value(self, data: Any) -> str:
        if data in NOT_BUILT_FORMATS:
            self.refuse("unsupported_parameter", "'output_format' offers only png so far.")
        return super().to_internal_value(data)


class Stream(StrictField):
    """Streaming is not offered, and an answer in plain JSON would break a client that waits for it."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.refuse("invalid_type", "'stream' must be true or false.")
        if data:
            self.refuse("unsupported_parameter", "'stream' is not supported. Leave it out.")
        return data


class Background(StrictField):
    """Images are opaque. A wish for a transparent one is refused; what else stands here is ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, str) and data.strip().lower() == "transparent":
            self.refuse(
                "unsupported_parameter",
                "'background' cannot be transparent: images are opaque. Leave it out.",
            )
        return data


class Size(Text):
    """One of the sizes offered; `auto` means the default."""

    def to_internal_value(self, data: Any) -> str:
        return DEFAULT_SIZE if data == "auto" else super().to_internal_value(data)


class GenerationSerializer(serializers.Serializer[Any]):
    """The body of POST /v1/images/generations. Fields that are not named here are ignored."""

    model = ModelName()
    prompt = Prompt()
    size = Size(choices=tuple(SIZES), default=DEFAULT_SIZE)
    n = Whole(
        least=1, most=1, default=1, above="'n' may only be 1. Send one request for each image."
    )
    response_format = Text(choices=("b64_json", "url"), default="b64_json")
    seed = Whole(least=0, most=SEED_LIMIT, default=None)
    output_format = OutputFormat(choices=("png",), default="png")
    stream = Stream(default=False)
    background = Background(default=None)

    def parameters(self) -> dict[str, Any]:
        """The validated fields of a `GenerationRequest`.

        Raises:
            InvalidRequest: a field is wrong; the first in the order above.
            ModelNotFound: the model is a string, but none of ours.
        """
        self.is_valid()
        for name in map(str, self.fields):
            if name in self.errors:
                detail = self.errors[name][0]
                raise InvalidRequest(str(detail), code=detail.code, param=name)
            if name == "model" and self.initial_data["model"] not in MODELS:
                raise ModelNotFound(self.initial_data["model"])
        data = self.validated_data
        return {name: data[name] for name in PARAMETERS}
