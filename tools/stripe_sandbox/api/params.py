"""Every request is compared with the types that Stripe publishes for it in its own client.

The types call their lists of words open (`Literal[...] | str`), for words that are still to come.
Stripe refuses a word that it does not know, and so does this.
"""

import functools
import importlib
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import (
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from stripe import RequestOptions
from typing_extensions import is_typeddict

from tools.stripe_sandbox.state.errors import Refused, absent

# Arguments of the client, not parameters of the request.
NOT_SENT = frozenset(RequestOptions.__annotations__)
# As many digits as fit into 64 bits for sure.
INTEGER = re.compile(r"-?[0-9]{1,18}")
# Names that the client's modules import for type checkers only.
ABSENT_NAMES = {"StripeContext": object, "Mapping": Mapping}


def published(name: str) -> type:
    """The type of that name, such as `checkout.SessionCreateParams`."""
    module, _, own = f"stripe.params.{name}".rpartition(".")
    found: type = getattr(importlib.import_module(module), own)
    return found


def check(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The decoded form, with numbers, booleans and lists for what the type wants as such.

    Raises:
        Refused: as Stripe refuses it, and for the same parameter.
    """
    return _check_group(published(name), given, "")


@functools.cache
def _members(group: type) -> dict[str, tuple[Any, bool]]:
    """For each parameter of a group its type, and whether it is required."""
    hints = get_type_hints(group, localns=ABSENT_NAMES, include_extras=True)
    members = {}
    for name, hint in hints.items():
        if name in NOT_SENT and group.__name__.endswith("Params"):
            continue
        optional = get_origin(hint) is NotRequired
        members[name] = (get_args(hint)[0] if optional else hint, not optional)
    return members


def _check_group(group: type, given: dict[str, Any], path: str) -> dict[str, Any]:
    members = _members(group)
    checked = {}
    for name, value in given.items():
        inner = f"{path}[{name}]" if path else name
        if name not in members:
            raise Refused(
                f"Received unknown parameter: {inner}", code="parameter_unknown", param=inner
            )
        checked[name] = _check_value(members[name][0], value, inner)
    for name, (_, required) in members.items():
        if required and name not in given:
            inner = f"{path}[{name}]" if path else name
            raise absent(inner)
    return checked


def _check_value(hint: Any, value: Any, path: str) -> Any:
    choices = _choices(hint)
    words = [word for choice in choices if _is_literal(choice) for word in get_args(choice)]
    if isinstance(value, dict):
        return _check_nested(choices, value, path)
    if value in words:
        return value
    if value == "":
        raise Refused(
            f"You passed an empty string for '{path}'. We assume empty values are an attempt to unset "
            f"a parameter; however '{path}' cannot be unset. You should remove '{path}' from your "
            "request or supply a non-empty value.",
            code="parameter_invalid_empty",
            param=path,
        )
    for kind, read in READERS.items():
        if kind in choices:
            return read(value, path)
    known = [word for word in words if word != ""]
    if known:
        raise Refused(
            f"Invalid {path}: must be one of {', '.join(map(str, known))}",
            code="parameter_invalid",
            param=path,
        )
    if str in choices:
        return value
    noun = "array" if any(get_origin(choice) is list for choice in choices) else "object"
    raise Refused(f"Invalid {noun}", code="parameter_invalid", param=path)


def _check_nested(choices: tuple[Any, ...], value: dict[str, Any], path: str) -> Any:
    for choice in choices:
        if is_typeddict(choice):
            return _check_group(choice, value, path)
        if get_origin(choice) is list:
            return _check_list(get_args(choice)[0], value, path)
        if get_origin(choice) is dict:
            return {key: _check_text(text, f"{path}[{key}]") for key, text in value.items()}
    raise Refused("Invalid string", code="parameter_invalid", param=path)


def _check_list(hint: Any, value: dict[str, Any], path: str) -> list[Any]:
    if not all(key.isdecimal() for key in value):
        raise Refused("Invalid array", code="parameter_invalid", param=path)
    ordered = sorted(value.items(), key=lambda pair: int(pair[0]))
    return [_check_value(hint, each, f"{path}[{key}]") for key, each in ordered]


def _check_text(value: Any, path: str) -> str:
    """A value of metadata or of a payload; it may be empty."""
    if not isinstance(value, str):
        raise Refused("Invalid string", code="parameter_invalid", param=path)
    return value


def _choices(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a type, nested ones too."""
    # `X | Y` of plain types is no typing.Union in Python 3.11, but has the same arguments.
    if get_origin(hint) is Union or type(hint).__name__ == "UnionType":
        return tuple(inner for each in get_args(hint) for inner in _choices(each))
    return (hint,)


def _is_literal(hint: Any) -> bool:
    return get_origin(hint) is Literal


def _integer(text: str, path: str) -> int:
    if not INTEGER.fullmatch(text):
        raise Refused(f"Invalid integer: {text}", code="parameter_invalid_integer", param=path)
    return int(text)


def _boolean(text: str, path: str) -> bool:
    if text not in {"true", "false"}:
        raise Refused(f"Invalid boolean: {text}", code="parameter_invalid", param=path)
    return text == "true"


def _decimal(text: str, path: str) -> str:
    """Checked, and kept as text: it is exact and JSON can hold it."""
    try:
        finite = Decimal(text).is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        raise Refused(f"Invalid decimal: {text}", code="parameter_invalid", param=path)
    return text


READERS: dict[type, Callable[[str, str], Any]] = {
    bool: _boolean,
    int: _integer,
    float: _decimal,
    Decimal: _decimal,
}
