"""Reads one value of the environment at a time for settings.py, and collects what is wrong with them.

No sentence repeats a value: it may be a password in the wrong place.
"""

import math
import os
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

# EX_CONFIG of sysexits.h: to start again without another configuration is of no use.
EXIT_MISCONFIGURED = 78

YES, NO = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}
ENV_LINE = re.compile(r"(?:export )?[A-Za-z_0-9]+=")
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
# Schemes whose address means nothing without a host.
NEED_HOST = {"http", "https", "smtp", "smtps", "smtp+tls", "smtp+ssl"}

DATABASE_SCHEMES = ("postgres://", "postgresql://", "sqlite:///")
# Django's forms: *, .example.com, a name, an address; IPv6 in brackets.
HOST = re.compile(r"\*|\.?[\w-]+(\.[\w-]+)*\.?|\[[0-9A-Fa-f:.]+\]")

CONTROL = re.compile(r"[\x00-\x1f\x7f]")

HIGHEST_PORT = 65_535
DEFAULT_PORTS = {"http": 80, "https": 443}

mistakes: list[str] = []
"""One sentence for each wrong value so far, with its remedy."""


class Misconfigured(ImproperlyConfigured):
    """Values that EcoHash does not start with; `str()` has a headline and one line for each."""


def read_env_file(path: Path) -> None:
    """Add the values of that file, where it exists, to the environment, which beats it.

    Its text is taken as it is: no $NAME is replaced and no # behind a value begins a comment.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        mistakes.append(f".env cannot be read ({type(error).__name__}). It must be text in UTF-8.")
        return
    for number, line in enumerate(text.splitlines(), start=1):
        # The library would print such a line, with the secret that may be in it.
        if line.strip() and not line.startswith("#") and not ENV_LINE.match(line):
            mistakes.append(
                f".env, line {number}: write NAME=value, without spaces around the name, or begin it with #."
            )
    if not mistakes:
        environ.Env.read_env(StringIO(text))


def setting(name: str, default: str = "") -> str:
    """The value of that name as text; empty counts as unset."""
    return os.environ.get(name, "").strip() or default


def number(name: str, default: int, *, least: int = 1, most: int = 1_000_000) -> int:
    """The value of that name as a whole number within these bounds."""
    text = setting(name)
    if not text:
        return default
    if WHOLE_NUMBER.fullmatch(text) and least <= int(text) <= most:
        return int(text)
    mistakes.append(f"{name} must be a whole number from {least} to {most}.")
    return default


def seconds(name: str, default: float, *, most: int) -> float:
    """The value of that name as a number of seconds, with a fraction or without."""
    try:
        value = float(setting(name, str(default)))
    except ValueError:
        value = math.nan
    if 0 <= value <= most:
        return value
    mistakes.append(f"{name} must be a number of seconds from 0 to {most}.")
    return default


def switch(name: str, *, default: str = "") -> bool:
    """The value of that name as yes or no; unset is no, unless the default says otherwise."""
    text = setting(name, default).lower()
    if text not in YES | NO:
        mistakes.append(f"{name} must be true or false.")
    return text in YES


def choice(name: str, default: str, known: Collection[str]) -> str:
    """The value of that name as one of those known, in their spelling, whatever its case."""
    text = setting(name, default).lower()
    found = next((word for word in known if word.lower() == text), None)
    if found is None:
        mistakes.append(f"{name} must be one of {', '.join(known)}.")
    return found or default


def address(name: str, default: str = "", *, schemes: Collection[str], bare: bool = False) -> str:
    """The value of that name as an address with one of those schemes; `bare` allows no path."""
    text = setting(name).rstrip("/") if bare else setting(name)
    if not text:
        return default
    try:
        parts = urlsplit(text)
        usable = parts.port != 0 and (parts.hostname or parts.scheme not in NEED_HOST)
    except ValueError:
        mistakes.append(
            f"{name} is no address that can be read. Its port must be a number, and special "
            "characters of a password must be percent-encoded."
        )
        return default
    if bare and (parts.path or parts.query or parts.fragment or parts.username):
        mistakes.append(f"{name} must be scheme, host and port alone, such as https://example.com.")
        return default
    if parts.scheme in schemes and usable:
        return text
    forms = " or ".join(f"{scheme}://" for scheme in schemes)
    host = ", and names a host" if set(schemes) <= NEED_HOST else ""
    mistakes.append(f"{name} must be an address that begins with {forms}{host}.")
    return default


def host_of(url: str) -> str:
    """The host of an address as a Host header has it: in small letters, IPv6 in brackets and in its shortest form."""
    host = urlsplit(url).hostname or ""
    if ":" not in host:
        return host
    with suppress(ValueError):
        host = ip_address(host).compressed
    return f"[{host}]"


def origin_of(url: str) -> str:
    """The address as a browser's Origin header has it: with a port only where it is not the scheme's."""
    parts = urlsplit(url)
    port = "" if parts.port in {None, DEFAULT_PORTS.get(parts.scheme)} else f":{parts.port}"
    return f"{parts.scheme}://{host_of(url)}{port}"


def database(name: str) -> dict[str, Any]:
    """The value of that name as Django's settings of a database; empty where it is none."""
    text = setting(name)
    try:
        found: dict[str, Any] = environ.Env.db_url_config(text)
    except ValueError:
        found = {}
    if text.startswith(DATABASE_SCHEMES) and found.get("NAME"):
        return found
    mistakes.append(
        f"{name} must be postgres://user:password@host:5432/name, with special characters of the "
        "password percent-encoded, or sqlite:///path."
    )
    return {}


def hosts(name: str) -> list[str]:
    """The value of that name as host names, separated by commas."""
    found = setting(name).replace(",", " ").split()
    if any(not HOST.fullmatch(host) for host in found):
        mistakes.append(f"{name} must hold names of hosts, without scheme, port and path.")
    return found


def folder(name: str, default: Path) -> Path:
    """The value of that name as an absolute path, which need not exist."""
    text = setting(name, str(default))
    try:
        text.encode()
        path = Path(text).resolve()
    except (OSError, RuntimeError, UnicodeEncodeError):
        # A link that leads to itself; bytes that are no text.
        path = None
    if path is None or CONTROL.search(str(path)):
        mistakes.append(f"{name} must be a path of plain text that leads to a folder.")
        return default
    return path


def names(name: str, known: Collection[str]) -> set[str]:
    """The value of that name as words out of those known, separated by commas."""
    words = set(setting(name).lower().replace(",", " ").split())
    if unknown := words - set(known):
        mistakes.append(
            f"{name} holds what nobody knows: {', '.join(sorted(unknown))}. "
            f"Known are {', '.join(sorted(known))}."
        )
    return words & set(known)


def raise_mistakes(headline: str) -> None:
    """End the loading of the settings where a mistake was found.

    Raises:
        Misconfigured
    """
    if mistakes:
        lines = [headline, *dict.fromkeys(mistakes)]
        # A caller that catches this may load the settings again.
        mistakes.clear()
        raise Misconfigured("\n".join(lines))


@contextmanager
def exit_if_misconfigured() -> Iterator[None]:
    """End the process with the lines of `Misconfigured`, where there is one, and no traceback."""
    try:
        yield
    except Misconfigured as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201 - logging is not set up yet
        raise SystemExit(EXIT_MISCONFIGURED) from None
