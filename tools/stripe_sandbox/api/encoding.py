"""Form encoding as Stripe's clients write it: `items[0][price]=price_1&expand[]=customer`."""

import re
from typing import Any
from urllib.parse import parse_qsl

from tools.stripe_sandbox.state.errors import Refused

NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def decode(text: str) -> dict[str, Any]:
    """Nested dicts of texts. What is a list is known only to the types: its keys are `0`, `1` … here.

    Raises:
        Refused: a name is no name, or is both a text and a group.
    """
    decoded: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        match = NAME.fullmatch(name)
        if match is None:
            raise Refused(f"Invalid request: {name!r} is not a parameter's name.", param=name)
        keys = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
        _put(decoded, keys, value, name)
    return decoded


def _put(group: dict[str, Any], keys: list[str], value: str, name: str) -> None:
    *way, last = keys
    for key in way:
        group = group.setdefault(key or str(len(group)), {})
        if not isinstance(group, dict):
            raise Refused("Invalid object: it is also given as a text.", param=name)
    if isinstance(group.get(last), dict):
        raise Refused("Invalid string: it is also given as an object.", param=name)
    group[last or str(len(group))] = value
