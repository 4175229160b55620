"""Model aliases of a key: names of models that clients send, each with the model that it means."""

import re

from accounts.keys.lines import WrongLine, read_each, shown

ALIASES_LIMIT = 20
ALIAS_LENGTH = 64
# What clients send when nobody chose a model, or offer in a list that cannot be added to.
COMMON_NAMES = (
    "dall-e-3",
    "dall-e-2",
    "gpt-image-1",
    "gpt-image-1-mini",
    "gpt-image-1.5",
    "gpt-image-2",
)
# Ids of the models that are offered, the default one first. The images app fills it from its catalog,
# which this app may not import.
MODEL_IDS: list[str] = []
ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*", re.ASCII)


class NotAnAlias(WrongLine):
    """The line names no alias, or a model that is not offered."""


def parse(line: str) -> tuple[str, str]:
    """(alias, model) of `dall-e-3 = flux-1-schnell`; a name alone means the default model.

    Raises:
        NotAnAlias: the name has another form or is a model's own id, or the model is not offered.
    """
    name, equals, model = (part.strip() for part in line.partition("="))
    if len(name) > ALIAS_LENGTH or not ALIAS.fullmatch(name):
        raise NotAnAlias(
            f"“{shown(name)}” cannot be an alias. Begin with a letter or digit, and use only letters, digits, dots, "
            f"dashes, underscores, colons and slashes, at most {ALIAS_LENGTH} characters."
        )
    if name in MODEL_IDS:
        raise NotAnAlias(f"“{name}” is a model itself and needs no alias. Remove this line.")
    if equals and model not in MODEL_IDS:
        raise NotAnAlias(f"There is no model “{shown(model)}”. Use one of: {', '.join(MODEL_IDS)}.")
    return name, model or MODEL_IDS[0]


def parse_lines(text: str) -> tuple[dict[str, str], list[str]]:
    """(alias → model, what is wrong): one alias a line; each wrong line by its number."""
    aliases: dict[str, str] = {}

    def read(line: str) -> None:
        name, model = parse(line)
        if aliases.setdefault(name, model) != model:
            raise NotAnAlias(f"“{name}” is given twice, with two models. Keep one of them.")

    _, problems = read_each(text, read)
    return aliases, problems


def as_lines(aliases: dict[str, str]) -> str:
    """The text that `parse_lines` reads as these aliases."""
    return "\n".join(f"{name} = {model}" for name, model in aliases.items())
